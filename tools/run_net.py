#!/usr/bin/env python3
"""Train and test a model: `tools/run_net.py --cfg FILE [KEY VALUE ...]`.

Start it directly, with torchrun, or with python -m torch.distributed.launch.
"""

from __future__ import annotations

from slowfast.utils.stop_signals import end_on_signals

if __name__ == "__main__":
    end_on_signals()  # Before the imports, which take seconds.

import argparse
import sys
from typing import TYPE_CHECKING

from slowfast.utils.cli import run_command
from slowfast.utils.environment import environment_report
from slowfast.utils.errors import UserError
from slowfast.utils.launcher import launcher_number

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cfg", required=True, help="YAML file or URL")
    parser.add_argument(
        "--init_method",
        default="auto",
        help="tcp://HOST:PORT of shard 0, for runs over several machines without a launcher",
    )
    parser.add_argument("--shard_id", type=int, help="number of this machine (SHARD_ID)")
    parser.add_argument("--num_shards", type=int, help="number of machines (NUM_SHARDS)")
    parser.add_argument(
        "--local-rank", "--local_rank", type=int, help="added by launchers; LOCAL_RANK is used"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="report what the run would do and need, run one step on random frames, write nothing",
    )
    parser.add_argument(
        "--env",
        action="store_true",
        help="print versions and hardware for a bug report and exit; needs no --cfg",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs over the file")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, dest="more", default=[], help="the same, as PySlowFast"
    )
    args = parser.parse_args()
    args.opts = [word for word in args.opts + args.more if word != "--opts"]
    if "--dry-run" in args.opts:
        args.opts.remove("--dry-run")
        args.dry_run = True
    return args


def is_first_process() -> bool:
    """Whether this process prints; under a launcher, only rank 0 does."""
    return launcher_number("RANK", 0) == 0


def say_dry_run(cfg: CfgNode) -> None:
    """Print the findings in one process. Raises: UserError with all mistakes in one line."""
    from slowfast.engine.preflight.dry_run import dry_run

    if not is_first_process():
        return
    report = dry_run(cfg)
    print(report)
    if report.mistakes:
        raise UserError("; ".join(report.mistakes))


def main() -> None:
    if "--env" in sys.argv[1:]:
        if is_first_process():
            print(environment_report())
        return
    args = parse_args()
    # Imported this late so that --env and --help work without torch or with a broken package.
    from slowfast.config import load_config
    from slowfast.engine.preflight.run_rules import validate_run
    from slowfast.engine.processes.launch import run_processes
    from slowfast.engine.run import run

    overrides = list(args.opts)
    if args.shard_id is not None:
        overrides += ["SHARD_ID", str(args.shard_id)]
    if args.num_shards is not None:
        overrides += ["NUM_SHARDS", str(args.num_shards)]
    cfg = load_config(args.cfg, overrides)
    validate_run(cfg)
    if args.dry_run:
        say_dry_run(cfg)
        return
    run_processes(cfg, run, args.init_method)


if __name__ == "__main__":
    run_command(main, prints_result=False)
