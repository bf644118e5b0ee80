#!/usr/bin/env python3
"""Write a template of a CSV list of your videos: `tools/make_list.py FOLDER [--out FILE]`.

One row per video file, tar or folder of frames below FOLDER. Times, narrations and labels are left
to fill in; rows without times are whole videos (docs/data.md).
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
from pathlib import Path

from slowfast.datasets.sources.csv_template import write_template
from slowfast.utils.cli import run_command
from slowfast.utils.expand import path_option


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=path_option, metavar="FOLDER", help="root of the videos")
    parser.add_argument("--out", type=path_option, default=Path("videos.csv"), help="list to write")
    parser.add_argument(
        "--labels", nargs="*", default=["verb", "noun"], metavar="COLUMN", help="label columns"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing list")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    count = write_template(args.folder, args.out, args.labels, force=args.force)
    print(f"{args.out}: {count} videos")


if __name__ == "__main__":
    run_command(main)
