#!/usr/bin/env python3
"""Draw test clips with the model's answers: `tools/draw_clips.py RUN [--out FILE.png]`.

RUN: OUTPUT_DIR of a run that has been tested, e.g. runs/demo.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse

from slowfast.report.clip_sheet import clip_sheet
from slowfast.report.run import load_run
from slowfast.utils.cli import run_command
from slowfast.utils.expand import path_option
from slowfast.utils.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=path_option, metavar="RUN")
    parser.add_argument("--out", type=path_option, help="PNG file; default: RUN/clips.png")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    out = args.out or args.run / "clips.png"
    picture = clip_sheet(load_run(args.run))
    write_atomically(out, lambda file: file.write(picture))
    print(f"{out}: {len(picture) / 1024:.0f} KB")


if __name__ == "__main__":
    run_command(main)
