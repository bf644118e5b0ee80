"""The largest batch: predicted and measured memory of a step, until the GPU runs out."""

from __future__ import annotations

import time

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.preflight.cost import step_cost, synthetic_batch
from slowfast.engine.step.update import Update
from slowfast.lab.benchmark.report import Report
from slowfast.lab.benchmark.workload import built_update, fastest_eager


def batch_benchmark(cfg: CfgNode, device: torch.device, most: int | None = None) -> Report:
    """Measure steps of 1, 2, 4, ... clips (pairs) with the fastest variant that needs no compiler.

    most: clips of the last step; None: until memory is exhausted, on CUDA only.
    """
    variant = fastest_eager(device)
    report, clips = Report("batch", remarks=[variant.name]), 1
    update = built_update(variant, variant.cfg(cfg), device)
    while most is None or clips <= most:
        try:
            figures = _measure(update, variant.cfg(cfg), clips, device)
        except torch.OutOfMemoryError:
            report.remarks.append(f"{clips} clips: out of memory")
            break
        report.figures[f"{clips} clips"] = figures
        clips *= 2
    return report


def _measure(update: Update, cfg: CfgNode, clips: int, device: torch.device) -> dict[str, float]:
    """Measure the second step, when the optimizer has its state."""
    on_gpu = device.type == "cuda"
    batch = synthetic_batch(cfg, clips).to(device)
    update(batch, 0, 0)
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    start = time.perf_counter()
    update(batch, 0, 1)
    if on_gpu:
        torch.cuda.synchronize(device)
    found = {"clips/s": clips / (time.perf_counter() - start)}
    found["predicted GiB"] = step_cost(cfg, clips).bytes / 2**30
    if on_gpu:
        found["measured GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found
