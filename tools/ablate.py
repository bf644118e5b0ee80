#!/usr/bin/env python3
"""Run an ablation and compare its arms: `tools/ablate.py configs/ablation/NAME.yaml`.

Every arm runs with every seed, as a separate run below --out. The same command resumes after an
interruption and skips what is finished. At the end it writes table.md, table.tex, table.csv,
table.json, figure.png and figure.svg.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import os
import sys
from pathlib import Path

import torch

from slowfast.lab.ablation.ablate import ablate
from slowfast.lab.ablation.plan import read_plan
from slowfast.lab.ablation.runner import Machine
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import path_option
from slowfast.utils.logging import setup_logging
from slowfast.utils.progress import open_display

RUN_NET = Path(__file__).resolve().parent / "run_net.py"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=path_option, help="YAML file")
    parser.add_argument("--out", type=path_option, help="default: runs/ablation/NAME")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side")
    parser.add_argument(
        "--fresh", action="store_true", help="rerun what ran with another code, config or data"
    )
    parser.add_argument(
        "--table-only", action="store_true", help="compare what is finished; run nothing"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.jobs < 1:
        raise UserError(f"--jobs is {args.jobs}; give 1 or more")
    setup_logging()
    plan = read_plan(args.plan)
    with open_display() as display:
        result = ablate(
            plan,
            args.out or Path("runs/ablation") / args.plan.stem,
            [sys.executable, str(RUN_NET), "--cfg", str(plan.base)],
            display,
            Machine(
                args.jobs,
                # torch follows OMP_NUM_THREADS, which a user sets to leave cores to others.
                threads=min(len(os.sched_getaffinity(0)), torch.get_num_threads()),
                gpus=torch.cuda.device_count() if torch.cuda.is_available() else 0,
            ),
            fresh=args.fresh,
            table_only=args.table_only,
        )
    print(result.text)
    return 1 if result.failed else 0


if __name__ == "__main__":
    run_command(main)
