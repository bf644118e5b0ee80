"""Launch of a run's processes, unless a launcher has started them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import torch
from fvcore.common.config import CfgNode
from torch.multiprocessing.spawn import (
    ProcessContext,
    ProcessExitedException,
    start_processes,
)

from slowfast.utils.errors import UserError
from slowfast.utils.launcher import launcher_number
from slowfast.utils.stop_signals import SIGNALS, obeyed_signals


@dataclass(frozen=True)
class ProcessInfo:
    """Rank, device and rendezvous address of one process of a run.

    init_method: rendezvous address of processes that were started here; None if a launcher has
        set the environment.
    """

    rank: int
    local_rank: int
    world_size: int
    init_method: str | None
    device: torch.device

    @property
    def launched(self) -> bool:
        return self.init_method is None and "WORLD_SIZE" in os.environ


def run_processes(
    cfg: CfgNode, main: Callable[[CfgNode, ProcessInfo], None], init_method: str
) -> None:
    """Call `main(cfg, process)` in every process of the run that belongs to this machine.

    Under torchrun or torch.distributed.launch this process is one of WORLD_SIZE already. Without
    a launcher, NUM_GPUS > 1 (or NUM_SHARDS > 1) starts NUM_GPUS processes here.

    init_method: `tcp://host:port` of shard 0; "auto" picks a free port of this machine.
    """
    if "WORLD_SIZE" in os.environ and "RANK" in os.environ:
        main(cfg, _launched_process(cfg))
        return
    per_machine = max(cfg.NUM_GPUS, 1)
    _check_devices(cfg, per_machine)
    if per_machine * cfg.NUM_SHARDS == 1:
        main(cfg, ProcessInfo(0, 0, 1, None, _device(cfg, 0)))
        return
    address = _rendezvous(cfg, init_method)
    os.environ["LOCAL_WORLD_SIZE"] = str(per_machine)
    if per_machine == 1:
        main(cfg, ProcessInfo(cfg.SHARD_ID, 0, cfg.NUM_SHARDS, address, _device(cfg, 0)))
        return
    # Blocked in the children too, which unblock them once their handlers are set.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    context = start_processes(
        _child, args=(cfg.dump(), main, address), nprocs=per_machine, join=False
    )
    _join(context)


def _launched_process(cfg: CfgNode) -> ProcessInfo:
    world_size, rank = launcher_number("WORLD_SIZE", 1), launcher_number("RANK", 0)
    if rank >= world_size:
        raise UserError(
            f"the launcher sets RANK {rank} and WORLD_SIZE {world_size}; ranks are numbered from 0 "
            "to WORLD_SIZE - 1"
        )
    if cfg.NUM_GPUS > 0 and world_size > 1 and "LOCAL_RANK" not in os.environ:
        raise UserError(
            "the launcher sets WORLD_SIZE and RANK but not LOCAL_RANK, which selects the GPU; "
            "use torchrun, or set LOCAL_RANK"
        )
    local_rank = launcher_number("LOCAL_RANK", 0)
    _check_devices(cfg, launcher_number("LOCAL_WORLD_SIZE", 1))
    return ProcessInfo(rank, local_rank, world_size, None, _device(cfg, local_rank))


def _check_devices(cfg: CfgNode, processes_here: int) -> None:
    """Raise UserError unless this machine has the requested GPUs; NUM_GPUS 0 requests none."""
    if cfg.NUM_GPUS == 0:
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < processes_here:
        raise UserError(
            f"NUM_GPUS {cfg.NUM_GPUS} asks for {processes_here} CUDA device(s) on this machine, "
            f"which has {found}; set NUM_GPUS {found}" + ("" if found else " (0 runs on the CPU)")
        )


def _device(cfg: CfgNode, local_rank: int) -> torch.device:
    return torch.device("cpu") if cfg.NUM_GPUS == 0 else torch.device("cuda", local_rank)


def _rendezvous(cfg: CfgNode, init_method: str) -> str:
    if init_method != "auto":
        return init_method
    if cfg.NUM_SHARDS > 1:
        raise UserError(
            f"NUM_SHARDS {cfg.NUM_SHARDS} needs --init_method tcp://HOST:PORT of shard 0"
        )
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"tcp://localhost:{probe.getsockname()[1]}"


def _child(
    local_rank: int, dump: str, main: Callable[[CfgNode, ProcessInfo], None], init: str
) -> None:
    from slowfast.utils.cli import run_command

    os.environ["LOCAL_RANK"] = str(local_rank)
    cfg = CfgNode.load_cfg(dump)
    cfg.freeze()
    per_machine = max(cfg.NUM_GPUS, 1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // per_machine))
    process = ProcessInfo(
        rank=cfg.SHARD_ID * per_machine + local_rank,
        local_rank=local_rank,
        world_size=per_machine * cfg.NUM_SHARDS,
        init_method=init,
        device=_device(cfg, local_rank),
    )
    run_command(lambda: main(cfg, process))


def _join(context: ProcessContext) -> None:
    """Wait for the children and forward signals to them; exit with the status of one that fails."""

    def forward(signum: int, frame: FrameType | None) -> None:
        for process in context.processes:
            if process.is_alive():
                os.kill(process.pid, signum)

    before = {signum: signal.signal(signum, forward) for signum in obeyed_signals()}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        while not context.join():
            pass
    except ProcessExitedException as ended:
        sys.exit(ended.exit_code if ended.exit_code > 0 else 128 - ended.exit_code)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
