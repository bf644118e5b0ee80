"""Actions of the processes of test_timeouts; one process of each group never joins."""

from __future__ import annotations

import sys
import time

import torch

from slowfast.config import get_cfg
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.setup import prepared
from slowfast.utils import distributed
from slowfast.utils.cli import run_command


def join_and_reduce(rank: int, world_size: int, port: int, output: str, hangs: bool) -> None:
    """Meet the others, then call a collective in two groups; one that hangs never does."""
    torch.set_num_threads(1)
    cfg = get_cfg()
    cfg.OUTPUT_DIR = output
    cfg.DISTRIBUTED.TIMEOUT = 3
    # The imports take longer in one process than in another.
    print("ready", flush=True)
    sys.stdin.readline()
    process = ProcessInfo(rank, rank, world_size, f"tcp://localhost:{port}", torch.device("cpu"))
    with prepared(cfg, process):
        distributed.begin_host_max(rank)()
        sys.stderr.write("together\n")
        if hangs:
            time.sleep(600)
        distributed.begin_host_max(rank)()


if __name__ == "__main__":
    rank, world_size, port, output, hangs = sys.argv[1:]
    run_command(
        lambda: join_and_reduce(int(rank), int(world_size), int(port), output, hangs == "hangs")
    )
