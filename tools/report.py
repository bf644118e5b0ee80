#!/usr/bin/env python3
"""Write an HTML report of runs: `tools/report.py RUN [RUN ...]`.

RUN: the OUTPUT_DIR of a run, finished or in progress, or a predictions file. The page is one HTML
file, `report.html` in the first RUN, with curves, results, classes, pairs and predictions; the
other runs are compared with the first one.
"""

from __future__ import annotations

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse

from slowfast.utils.cli import run_command
from slowfast.utils.expand import path_option


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=path_option, metavar="RUN")
    parser.add_argument("--out", type=path_option, metavar="FILE", help="default: RUN/report.html")
    parser.add_argument(
        "--no-explain", action="store_true", help="without Grad-CAM maps, which run the model"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    # Imported this late so that --help works without torch.
    from slowfast.evaluation.report_links import REPORT_NAME
    from slowfast.report.page import page
    from slowfast.report.run import load_runs
    from slowfast.utils.files import write_text

    runs = load_runs(args.runs)
    first = args.runs[0]
    default = first / REPORT_NAME if first.is_dir() else first.with_name(f"{first.stem}.html")
    out = args.out or default
    write_text(out, page(runs, explain=not args.no_explain))
    print(f"{out}: {out.stat().st_size / 2**20:.1f} MB; open it in a browser")
    for run in runs:
        for line in run.missing:
            print(f"  not shown for {run.name}: {line}")


if __name__ == "__main__":
    run_command(main)
