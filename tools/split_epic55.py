#!/usr/bin/env python3
"""Split EPIC-KITCHENS-55's training list by video into training and validation.

`tools/split_epic55.py --annotations DIR/EPIC_train_action_labels.csv --out data/epic-55/split`
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
from pathlib import Path

from slowfast.datasets.sources.epic_55_split import EPIC_55_SPLIT_ROWS, write_epic_55_split
from slowfast.utils.cli import run_command
from slowfast.utils.expand import input_option, path_option


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--annotations",
        type=input_option,
        required=True,
        help="the official EPIC_train_action_labels.csv",
    )
    parser.add_argument(
        "--out",
        type=path_option,
        default=Path("data/epic-55/split"),
        help="folder of the two lists",
    )
    args = parser.parse_args()
    written = write_epic_55_split(args.annotations, args.out)
    for path, rows in written.items():
        print(f"{path}: {rows} segments")
    if tuple(written.values()) != EPIC_55_SPLIT_ROWS:
        print(f"these are not the {EPIC_55_SPLIT_ROWS} segments of the official list")


if __name__ == "__main__":
    run_command(main)
