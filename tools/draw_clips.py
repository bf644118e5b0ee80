#!/usr/bin/env python3
"""Draw test clips with the model's answers: `tools/draw_clips.py RUN [--out FILE.png]`.

RUN: OUTPUT_DIR of a run that has been tested, e.g. runs/demo.
"""

import argparse
from pathlib import Path

from slowfast.report.clip_sheet import clip_sheet
from slowfast.report.run import load_run
from slowfast.utils.cli import run_command
from slowfast.utils.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, help="PNG file; default: RUN/clips.png")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    out = args.out or args.run / "clips.png"
    picture = clip_sheet(load_run(args.run))
    write_atomically(out, lambda file: file.write(picture))
    print(f"{out}: {len(picture) / 1024:.0f} KB")


if __name__ == "__main__":
    run_command(main)
