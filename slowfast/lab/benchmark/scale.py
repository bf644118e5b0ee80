"""Weak and strong scaling: the same step in one process and in several."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode
from torch.multiprocessing.spawn import start_processes

from slowfast.engine.preflight.cost import synthetic_batch
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.lab.benchmark.report import Report, Table
from slowfast.lab.benchmark.workload import is_dual
from slowfast.models.build import build_model
from slowfast.tasks.build import build_task
from slowfast.utils import distributed


def scale_benchmark(cfg: CfgNode, clips: int, steps: int, processes: int, cuda: bool) -> Report:
    """Wall time per step in one process and in `processes` of them.

    Weak scaling: against one process with `clips` clips, as many as each process has. Strong
    scaling: against one process with the clips of all.

    cuda: one GPU per process and nccl; otherwise one thread each and gloo.
    """
    runs = {
        f"1 process, {clips} clips": _Run(1, clips, steps, cuda),
        f"{processes} processes, {clips} clips each": _Run(processes, clips, steps, cuda),
        f"1 process, {processes * clips} clips": _Run(1, processes * clips, steps, cuda),
    }
    seconds = {name: _measure(cfg, run) for name, run in runs.items()}
    one, many, joined = seconds.values()
    names = list(runs)

    def table(title: str, baseline: str) -> Table:
        times = {name: seconds[name] * 1e3 for name in (baseline, names[1])}
        return Table(title, "time per step", times, baseline)

    report = Report("scale", [table("weak scaling", names[0]), table("strong scaling", names[2])])
    report.figures["communication per process and step"] = traffic(cfg, clips, processes)
    report.figures["scaling"] = {
        "weak efficiency": one / many,
        "strong efficiency": joined / many / processes,
        "clips/s of all": processes * clips / many,
    }
    return report


def traffic(cfg: CfgNode, clips: int, processes: int) -> dict[str, float]:
    """Bytes that one process sends: gradients in a ring, and embeddings to all others.

    The contrastive terms gather z and d of each half, 4 x D numbers per clip, and z again with the
    similarities for the alignment: 2 x D + 1. The gradients of gathered rows come back summed.
    """
    with torch.device("meta"):
        model = build_model(cfg)
    size = 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    sent = {"gradient bytes": float(size)}
    sent["gradient bytes sent"] = 2 * (processes - 1) / processes * size
    if is_dual(cfg) and cfg.SUML.GATHER:
        rows = 4 * clips * (6 * cfg.SUML.EMBED_DIM + 1)
        back = 4 * processes * clips * 4 * cfg.SUML.EMBED_DIM
        sent["embedding bytes sent"] = (processes - 1) * rows + (
            2 * (processes - 1) / processes * back
        )
    return sent


class _Run(NamedTuple):
    """Steps of `clips` clips in each of `processes` processes."""

    processes: int
    clips: int
    steps: int
    cuda: bool


def _measure(cfg: CfgNode, run: _Run) -> float:
    """Seconds per step."""
    with tempfile.TemporaryDirectory() as folder:
        args = (run, cfg, folder)
        start_processes(_child, args=args, nprocs=run.processes, start_method="spawn")
        taken: list[float] = torch.load(Path(folder) / "seconds.pt", weights_only=True)
    return median(taken[1:])


def _child(rank: int, run: _Run, cfg: CfgNode, folder: str) -> None:
    torch.set_num_threads(1)
    device = torch.device("cuda", rank) if run.cuda else torch.device("cpu")
    if run.cuda:
        torch.cuda.set_device(device)
    if run.processes > 1:
        dist.init_process_group(
            "nccl" if run.cuda else "gloo",
            init_method=f"file://{folder}/rendezvous",
            rank=rank,
            world_size=run.processes,
            device_id=device if run.cuda else None,
        )
    taken = _steps(cfg, synthetic_batch(cfg, run.clips, seed=rank), run.steps, device)
    if rank == 0:
        torch.save(taken, Path(folder) / "seconds.pt")
    if run.processes > 1:
        dist.destroy_process_group()


def _steps(cfg: CfgNode, batch: Any, steps: int, device: torch.device) -> list[float]:
    """Seconds of each step; one more than `steps`, the first with one-time work."""
    torch.manual_seed(0)
    model = build_model(cfg).to(device).train()
    set_precision(model, cfg.TRAIN.PRECISION, device)
    stepped = distributed.data_parallel(model, device)
    optimizer = build_optimizer(model, cfg)
    update = Update(model, stepped, build_task(cfg), optimizer, update_options(cfg))
    batch, taken = batch.to(device), []
    for iteration in range(steps + 1):
        start = time.perf_counter()
        # Reading the loss waits for the step.
        update(batch, 0, iteration).output.total.item()
        taken.append(time.perf_counter() - start)
    return taken
