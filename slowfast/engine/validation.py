"""The validation pass of a training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from slowfast.datasets.loading.loader import BatchLoader
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.tasks.base import Task
from slowfast.utils.progress import progress_line

# Batches whose scores stay on the device.
_HOST_PERIOD = 32


@torch.no_grad()
def validate(
    model: nn.Module,
    task: Task,
    loader: BatchLoader[Any],
    device: torch.device,
    collected: CollectedScores,
    check: Callable[[], None],
) -> dict[str, float]:
    """One view of every validation segment; percent by name, the same on every rank.

    The names are those of `evaluation.metric_names.validation_metrics`.

    collected: collects the scores.
    check: called equally often on every rank; may raise to end the validation.
    """
    model.eval()
    with progress_line("validation", len(loader), "batches") as line:
        batches = iter(loader)
        for number in range(loader.sampler.batches_per_epoch):
            check()
            batch = next(batches, None)
            if batch is None:
                continue
            batch = batch.to(device)
            collected.add(task.evaluate(model, batch), batch.labels)
            if number % _HOST_PERIOD == 0:
                collected.to_host()
            line.advance()
    return collected.values()
