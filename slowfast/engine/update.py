"""One optimizer step: forward, backward, and an update that all ranks make or none does."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from slowfast.engine.finite import NormStatistics
from slowfast.tasks.base import StepOutput, Task
from slowfast.utils import distributed


class Updated(NamedTuple):
    """What one step gave.

    finite: () bool on the device; false: the step changed no weight and no statistic on any rank.
    """

    output: StepOutput
    finite: Tensor


class Update:
    """Steps a model. Holds the state of training beside the weights: `state_dict`."""

    def __init__(
        self, model: nn.Module, stepped: nn.Module, task: Task, optimizer: torch.optim.Optimizer
    ) -> None:
        """stepped: `model`, or what wraps it for distributed training."""
        self.model = model
        self.stepped = stepped
        self.task = task
        self.optimizer = optimizer
        self._statistics = NormStatistics(model)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._fused = all(group.get("fused") for group in optimizer.param_groups)

    def __call__(self, batch: Any, epoch: int, iteration: int) -> Updated:
        """batch: on the device. A loss or gradient that is not finite on one rank voids the step
        on all of them, without the host having to know."""
        self._statistics.keep()
        self.optimizer.zero_grad(set_to_none=True)
        output = self.task.step(self.stepped, batch, epoch, iteration)
        output.total.backward()
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        output.counts["grad_norm"] = norm
        finite = distributed.all_reduce_and(torch.isfinite(output.total) & torch.isfinite(norm))
        self._statistics.restore_unless(finite)
        self._step_if(finite)
        return Updated(output, finite)

    def _step_if(self, finite: Tensor) -> None:
        """Fused optimizers obey a flag on the device, once they have a state; others need the host
        to read it."""
        if self._fused and self.optimizer.state:
            self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif finite:
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs beside weights and optimizer."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
