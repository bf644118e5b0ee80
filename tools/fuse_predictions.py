#!/usr/bin/env python3
"""Fuse predictions files of one test list into one: the weighted mean of log-probabilities.

`tools/fuse_predictions.py --predictions A.pkl B.pkl [--weights 2 1] --out FUSED.pkl`; score the
result with tools/evaluate.py, submit it with tools/make_submission.py.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse

from slowfast.evaluation.predictions import fuse, read_predictions, write_predictions
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import input_option, path_option


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--predictions", type=input_option, nargs="+", required=True, help="two or more"
    )
    parser.add_argument("--weights", type=float, nargs="+", help="one per file; default: equal")
    parser.add_argument("--out", type=path_option, required=True, help="fused file (.pkl)")
    parser.add_argument("--force", action="store_true", help="overwrite --out")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.out.exists() and not args.force:
        raise UserError(f"{args.out} exists; give another name or --force")
    if args.out.suffix != ".pkl":
        raise UserError(f"--out {args.out}: predictions are .pkl files")
    parts = [read_predictions(path) for path in args.predictions]
    fused = fuse(parts, args.weights, what=", ".join(str(path) for path in args.predictions))
    write_predictions(args.out, fused)
    print(f"{len(fused)} segments of {len(parts)} files: {args.out}")


if __name__ == "__main__":
    run_command(main)
