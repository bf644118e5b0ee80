"""Batch-norm statistics measured on many batches with the weights as they are."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fvcore.common.config import CfgNode
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from torch import Tensor, nn

from slowfast.datasets.loading.loader import BatchLoader
from slowfast.tasks.base import Task
from slowfast.utils import distributed

logger = logging.getLogger(__name__)


class _BatchForward(nn.Module):
    """Takes a whole batch, so that one-view and two-view models are called alike."""

    def __init__(self, model: nn.Module, task: Task, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._task = task
        self._device = device

    def forward(self, batch: object) -> object:
        return self._task.forward(self.model, batch.to(self._device))  # type: ignore[attr-defined]


def update_batch_norm(
    model: nn.Module,
    task: Task,
    loader: BatchLoader[Any],
    epoch: int,
    cfg: CfgNode,
    device: torch.device,
    check: Callable[[], None],
) -> None:
    """Average mean and variance over BN.NUM_BATCHES_PRECISE training batches, on all ranks.

    Nothing else in the model changes, and its buffers stay the same tensors. If an exception ends
    the measurement, the model is as before.

    check: called before every batch; ends the measurement by raising.
    """
    norms = get_bn_modules(model)
    if not norms:
        return
    loader.set_epoch(epoch)
    batches = min(cfg.BN.NUM_BATCHES_PRECISE, len(loader))
    model.train()
    with torch.no_grad(), _only_statistics(norms):
        update_bn_stats(
            _BatchForward(model, task, device), _checked(loader, batches, check), batches
        )
        _average_over_ranks(model)
    logger.info("batch-norm statistics measured on %d batches", batches)


@contextmanager
def _only_statistics(norms: list[nn.Module]) -> Iterator[None]:
    """Copy what is measured inside into the existing tensors, and restore everything else."""
    buffers = [dict(norm.named_buffers()) for norm in norms]
    before = [{name: buffer.clone() for name, buffer in own.items()} for own in buffers]
    momentum = [norm.momentum for norm in norms]
    measured: list[dict[str, Tensor]] = []
    try:
        yield
        measured = [
            {name: getattr(norm, name).clone() for name in ("running_mean", "running_var")}
            for norm in norms
        ]
    finally:
        for index, norm in enumerate(norms):
            values = {**before[index], **(measured[index] if measured else {})}
            for name, buffer in buffers[index].items():
                buffer.copy_(values[name])
                setattr(norm, name, buffer)
            norm.momentum = momentum[index]


def _checked(loader: BatchLoader[Any], batches: int, check: Callable[[], None]) -> Iterator[Any]:
    for batch in itertools.islice(loader, batches):
        check()
        yield batch


def _average_over_ranks(model: nn.Module) -> None:
    """Pool the ranks' statistics: mean of means; mean of variances plus variance of means."""
    world = distributed.world_size()
    if world == 1:
        return
    for norm in get_bn_modules(model):
        mean = distributed.all_reduce_sum(norm.running_mean) / world
        second = distributed.all_reduce_sum(norm.running_var + norm.running_mean**2) / world
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(second - mean**2)
