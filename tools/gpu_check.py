#!/usr/bin/env python3
"""`make gpu`: prove and measure the CUDA path in 9 minutes, the most important parts first.

Every part is a process with its own limit. `check.json` and `check.md` in --out are written after
each part. `--device cpu` rehearses all parts at tiny sizes. Exit status 1: a part did not succeed.
"""

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import sys
from pathlib import Path

import torch

from slowfast.lab.gpu_check.parts import many_gpus, one_gpu
from slowfast.lab.gpu_check.runner import OK, Outcome, run_parts
from slowfast.utils.cli import run_command
from slowfast.utils.errors import UserError
from slowfast.utils.expand import path_option


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--gpus", type=int, default=1, help="2 or more: multi-GPU parts, too")
    parser.add_argument("--out", type=path_option, default=Path("runs/gpu_check"))
    parser.add_argument(
        "--seconds", type=float, help="limit of the whole check (540; more GPUs: 810)"
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.device == "cuda" and torch.cuda.device_count() < args.gpus:
        raise UserError(
            f"the check needs {args.gpus} CUDA device(s), but this machine has "
            f"{torch.cuda.device_count()}; --device cpu rehearses it"
        )
    parts = one_gpu(args.device, args.out)
    if args.gpus > 1:
        parts = [*many_gpus(args.device, args.gpus, args.out), *parts]
    outcomes = run_parts(parts, args.out, args.seconds or (540 if args.gpus == 1 else 810), show)
    print(f"results: {args.out}/check.json and {args.out}/check.md")
    return 0 if all(outcome.status == OK for outcome in outcomes) else 1


def show(outcome: Outcome) -> None:
    sys.stderr.write(f"{outcome.seconds:6.0f} s  {outcome.name}: {outcome.status}\n")


if __name__ == "__main__":
    run_command(main)
