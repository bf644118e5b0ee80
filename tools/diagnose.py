#!/usr/bin/env python3
"""Find where the exo view's information stops: `tools/diagnose.py RUN [RUN ...]`.

RUN: the OUTPUT_DIR of a finished SUM-L training. For every kept checkpoint: alignment of the two
views on training and test clips, each loss term's share of the gradient at the ego backbone, and
linear probes of the ego features. Runs are only read.
"""

from __future__ import annotations

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
from pathlib import Path

from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import path_option


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=path_option, metavar="RUN")
    parser.add_argument(
        "--out", type=path_option, default=Path("runs/diagnosis"), help="default: %(default)s"
    )
    parser.add_argument(
        "--batches", type=int, default=4, help="training batches for the gradients (%(default)s)"
    )
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="over the config of every run"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.batches < 1:
        raise UserError(f"--batches is {args.batches}; give 1 or more")
    # Imported this late so that --help works without torch.
    from slowfast.lab.diagnose.diagnose import diagnose_runs
    from slowfast.utils.logging import setup_logging

    setup_logging()
    print(diagnose_runs(args.runs, args.out, args.opts, args.batches))
    print(f"{args.out}: diagnosis.json, diagnosis.md")


if __name__ == "__main__":
    run_command(main)
