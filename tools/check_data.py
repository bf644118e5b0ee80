#!/usr/bin/env python3
"""Check all data of a config before a long run: `tools/check_data.py --cfg FILE [KEY VALUE ...]`.

One page: segments, classes and narrations of every list, locations of the videos, folders
with gaps, cut videos, a sample of decoded frames, pair table, narration cache, free space. The
status is 2 if something is wrong. --deep decodes every frame in parallel.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse

from slowfast.config import load_config
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.logging import setup_logging


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cfg", required=True, help="YAML file or URL")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="decode every frame; bad ones are listed in OUTPUT_DIR/bad_frames.txt",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the file")
    args = parser.parse_args(argv)
    if "--deep" in args.opts:
        args.opts.remove("--deep")
        args.deep = True
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    setup_logging()
    # Imported this late so that --help works without torch.
    from slowfast.engine.preflight.check_data import check_data

    findings = check_data(load_config(args.cfg, args.opts), deep=args.deep)
    print(findings)
    if findings.mistakes:
        count = len(findings.mistakes)
        raise UserError(f"{count} fault{'s' * (count > 1)} in the data, marked WRONG above")
    print("no fault found")


if __name__ == "__main__":
    run_command(main)
