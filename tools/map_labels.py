#!/usr/bin/env python3
"""Write a label map to edit: `tools/map_labels.py --cfg FILE --out map.csv [KEY VALUE ...]`.

One row per verb and noun of the exo set, with its ego class: the one of the same name, or the
nearest by the text encoder (SUML.ENCODER) at a cosine of at least --threshold. Rows below it have
an empty `ego_class`, with the nearest class next to it. Set SUML.PAIRS.LABEL_MAP to the file.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse

from slowfast.config import load_config
from slowfast.semantics.suggested_labels import write_label_map
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import path_option
from slowfast.utils.logging import setup_logging


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cfg", required=True, help="YAML file or URL")
    parser.add_argument("--out", required=True, type=path_option, help="label map to write")
    parser.add_argument("--threshold", type=float, default=0.7, help="least cosine (default 0.7)")
    parser.add_argument("--exo", default="", metavar="NAME", help="a set of EXO.MORE")
    parser.add_argument("--force", action="store_true", help="replace an existing map")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the file")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    setup_logging()
    # The map may have been edited by hand.
    if args.out.exists() and not args.force:
        raise UserError(f"{args.out} exists; choose another --out, or replace it with --force")
    cfg = load_config(args.cfg, args.opts)
    for line in write_label_map(cfg, args.out, args.threshold, args.exo):
        print(line)
    print(f"{args.out}; edit it, then set SUML.PAIRS.LABEL_MAP {args.out}")


if __name__ == "__main__":
    run_command(main)
