#!/usr/bin/env python3
"""Render the sample: `tools/make_sample.py --out data/sample [--preset demo] [KEY=VALUE ...]`.

KEY=VALUE changes a setting of slowfast/lab/sample/settings.py, e.g. train_segments=200.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import logging
from pathlib import Path

from slowfast.lab.sample.make import make_sample
from slowfast.lab.sample.settings import PRESETS, with_overrides
from slowfast.utils.cli import run_command
from slowfast.utils.expand import path_option


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=path_option, default=Path("data/sample"), help="folder to write"
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="demo")
    parser.add_argument("--seed", type=int, help="seed of the random content")
    parser.add_argument(
        "--force", action="store_true", help="replace a sample made with other settings"
    )
    parser.add_argument("knobs", nargs="*", metavar="KEY=VALUE", help="settings over the preset")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    seed = [] if args.seed is None else [f"seed={args.seed}"]
    settings = with_overrides(PRESETS[args.preset], [*args.knobs, *seed])
    if not make_sample(args.out, settings, args.force):
        print(f"{args.out} holds this sample already")


if __name__ == "__main__":
    run_command(main)
