"""Forward and backward passes over a batch in parts: gradient accumulation and GradCache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from slowfast.engine.step.batches import joined, merged, tensors
from slowfast.models.norms import RunningStatistics
from slowfast.tasks.base import StepOutput, Task


@dataclass(frozen=True)
class PartPasses:
    """Forward and backward passes of one step over the parts of a batch.

    model: the model without a wrapper. stepped: the model, or its wrapper for distributed training.
    backward: loss -> None; adds the gradients of the loss.
    """

    task: Task
    model: nn.Module
    stepped: nn.Module
    backward: Callable[[Tensor], None]
    epoch: int
    iteration: int

    def accumulated(self, parts: list[Any]) -> StepOutput:
        """Add the gradients of all parts, each weighted by its share of the clips."""
        rows = [len(next(tensors(part))) for part in parts]
        shares = [count / sum(rows) for count in rows]
        steps: list[StepOutput] = []
        for index, output in enumerate(self._outputs(parts)):
            step = self.task.losses(output, parts[index], self.epoch, self.iteration)
            self.backward(step.total * shares[index])
            steps.append(step)
        return merged(steps, shares)

    def cached(self, batch: Any, parts: list[Any]) -> StepOutput:
        """Add the gradients of the whole batch's losses (GradCache, arXiv 2101.06983).

        The parts pass through the model without a graph. The losses of the joined outputs give the
        gradients of these outputs, and a second pass takes them back through each part.
        """
        statistics = RunningStatistics(self.model)
        with torch.no_grad():
            outputs = [self._forward(parts, index) for index in range(len(parts))]
        statistics.restore()
        cached = joined(outputs)
        leaves = list(tensors(cached))
        for leaf in leaves:
            leaf.requires_grad_()
        step = self.task.losses(cached, batch, self.epoch, self.iteration)
        self.backward(step.total)
        start = 0
        for output in self._outputs(parts):
            ends = list(tensors(output))
            rows = slice(start, start + len(ends[0]))
            used = [
                (end, leaf.grad[rows])
                for end, leaf in zip(ends, leaves, strict=True)
                if leaf.grad is not None and end.requires_grad
            ]
            torch.autograd.backward([end for end, _ in used], [gradient for _, gradient in used])
            start = rows.stop
        return step

    def _outputs(self, parts: list[Any]) -> Iterator[Any]:
        """The model's output for each part; call its backward pass before taking the next.

        Gradients are summed over processes in the last backward pass, and running statistics are
        updated once, by the mean over parts.
        """
        statistics = RunningStatistics(self.model)
        for index in range(len(parts)):
            last = index + 1 == len(parts)
            with nullcontext() if last else self._without_sum():
                yield self._forward(parts, index)
            statistics.take_pass()
        statistics.put_mean()

    def _without_sum(self) -> AbstractContextManager[None]:
        if isinstance(self.stepped, DistributedDataParallel):
            return self.stepped.no_sync()
        return nullcontext()

    def _forward(self, parts: list[Any], index: int) -> Any:
        self.task.seed(self.stepped, self.epoch, self.iteration, index, len(parts))
        return self.task.forward(self.stepped, parts[index])
