"""Time that training waits for a checkpoint, compared with a plain torch.save."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.checkpoint import checkpoint_content, checkpoint_path
from slowfast.engine.checkpoints.writer import CheckpointWriter
from slowfast.engine.solver import build_optimizer
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.workload import clock_of
from slowfast.tasks.build import build_training

_PLAIN, _STALL, _DISK = "torch.save, no fsync", "ours, training waits", "ours, until on the disk"
_COPY = "ours, training waits, processor time"
_STALL_LIMIT_SEC = 0.3


def checkpoint_benchmark(cfg: CfgNode, device: torch.device, rounds: int) -> Report:
    """Wall time of a save of the model and its optimizer, median of `rounds` after a first one.

    The files go to the system's temporary folder (TMPDIR). The limit on the stall is checked with
    `clock_of` the device.
    """
    model, _ = build_training(cfg)
    model.to(device)
    optimizer = build_optimizer(model, cfg)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # Creates the momentum.
    optimizer.zero_grad()
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        writer = CheckpointWriter(folder, keep_last=1, keep_every=0)
        checkpoint_path(folder, 1).parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, rounds + 2):
            content = checkpoint_content(
                model=model, optimizer=optimizer, epoch=number, cfg_text=cfg.dump(), extra={}
            )
            start = time.perf_counter()
            torch.save(content, Path(folder) / "plain.pyth")
            seconds[_PLAIN].append(time.perf_counter() - start)
            start, processor = time.perf_counter(), time.thread_time()
            writer.write(content, checkpoint_path(folder, number))
            seconds[_STALL].append(time.perf_counter() - start)
            seconds[_COPY].append(time.thread_time() - processor)
            writer.wait()
            seconds[_DISK].append(time.perf_counter() - start)
        size = checkpoint_path(folder, rounds + 1).stat().st_size
    times = {name: 1e3 * median(values[1:]) for name, values in seconds.items()}
    weights = sum(p.numel() for p in model.parameters()) / 1e6
    title = f"save of {weights:.1f} M weights and {cfg.SOLVER.OPTIMIZING_METHOD}"
    stall = _STALL if clock_of(device) is time.perf_counter else _COPY
    check = Check("stall per save", times[stall] / 1e3, _STALL_LIMIT_SEC, "s")
    remark = f"file of {size / 1e6:.0f} MB, from {device.type}"
    return Report("checkpoint", [Table(title, "wall time", times, _PLAIN)], [check], [remark])
