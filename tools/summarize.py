#!/usr/bin/env python3
"""One table over runs: `tools/summarize.py RUN [RUN ...]` (folders or results.json files).

Every value with its 95 % interval and its difference to the first run; a difference inside the
noise is marked with ~.
"""

import argparse

from slowfast.evaluation.summary import STYLES, format_summary, load_run
from slowfast.utils.cli import run_command


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the first is the baseline")
    parser.add_argument("--style", choices=list(STYLES), default="markdown")
    parser.add_argument(
        "--keys", nargs="+", help="values to show; default: top-1 and top-5, or mAP"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    print(format_summary([load_run(run) for run in args.runs], args.style, args.keys))


if __name__ == "__main__":
    run_command(main)
