"""One optimizer step: forward, backward, and an update that all ranks apply or none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast.engine.solver import clip_gradients
from slowfast.engine.step.accumulation import PartPasses
from slowfast.engine.step.batches import split
from slowfast.engine.step.ema import WeightAverage
from slowfast.engine.step.finite import NormStatistics
from slowfast.engine.step.precision import LossScale
from slowfast.models.published_names import published_state_dict
from slowfast.tasks.base import StepOutput, Task
from slowfast.utils import distributed


class Updated(NamedTuple):
    """Result of one step.

    finite: () bool on the device; false: a loss or gradient was not finite on some rank. Such a
        step changed no weight and no running mean or variance. Nor does an overflow that a smaller
        loss scale fixes, but it counts as finite.
    """

    output: StepOutput
    finite: Tensor


@dataclass(frozen=True)
class UpdateOptions:
    """Options of a step; the defaults are one plain pass.

    parts: number of parts that a batch is split into (gradient accumulation).
    grad_cache: with several parts, losses of their joined outputs (`PartPasses.cached`).
    max_gradient, max_gradient_norm: as in `clip_gradients`. ema_decay: 0 disables the average.
    scale_loss: for fp16.
    """

    parts: int = 1
    grad_cache: bool = False
    max_gradient: float = 0.0
    max_gradient_norm: float = 0.0
    ema_decay: float = 0.0
    scale_loss: bool = False


def update_options(cfg: CfgNode) -> UpdateOptions:
    solver = cfg.SOLVER
    return UpdateOptions(
        parts=solver.ACCUMULATE,
        grad_cache=cfg.SUML.GRAD_CACHE,
        max_gradient=solver.CLIP_GRAD_VAL,
        max_gradient_norm=solver.CLIP_GRAD_L2NORM,
        ema_decay=solver.EMA_DECAY,
        scale_loss=cfg.TRAIN.PRECISION == "fp16",
    )


class Update:
    """Steps a model. Holds the training state other than weights and optimizer."""

    def __init__(
        self,
        model: nn.Module,
        stepped: nn.Module,
        task: Task,
        optimizer: torch.optim.Optimizer,
        options: UpdateOptions | None = None,
    ) -> None:
        """model: on its device, with its initial weights. stepped: `model`, or its wrapper for
        distributed training."""
        self.model = model
        self.stepped = stepped
        self.task = task
        self.optimizer = optimizer
        self._options = options or UpdateOptions()
        self._statistics = NormStatistics(model)
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._fused = all(group.get("fused") for group in optimizer.param_groups)
        decay, device = self._options.ema_decay, self._parameters[0].device
        self.average = WeightAverage(model, decay) if decay else None
        self.loss_scale = LossScale(device) if self._options.scale_loss else None

    def __call__(self, batch: Any, epoch: int, iteration: int) -> Updated:
        """Run forward, backward and optimizer on a batch that is on the device.

        A loss or gradient that is not finite on one rank voids the step on all ranks. The host
        does not wait to learn of it: what follows depends on a flag on the device.
        """
        self._statistics.keep()
        self.optimizer.zero_grad(set_to_none=True)
        parts = split(batch, self._options.parts) if self._options.parts > 1 else [batch]
        if len(parts) > 1:
            output = self._in_parts(batch, parts, epoch, iteration)
        else:
            # Forward pass and losses, then their gradients.
            output = self.task.step(self.stepped, batch, epoch, iteration)
            self._backward(output.total)

        # The norm is finite only if every gradient is. All ranks apply the step, or none does.
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self.loss_scale:
            self.loss_scale.unscale(gradients)
        norm = nn.utils.get_total_norm(gradients)
        loss_finite, step_applied = distributed.all_reduce_and(
            torch.stack([torch.isfinite(output.total), torch.isfinite(output.total + norm)])
        )
        clip_gradients(
            self._parameters, norm, self._options.max_gradient, self._options.max_gradient_norm
        )
        self._statistics.restore_unless(step_applied)
        self._step_if(step_applied)
        if self.average:
            self.average.update(step_applied)
        self.task.finish_step(self.model, step_applied)

        finite = step_applied
        if self.loss_scale:
            # An overflow that a smaller scale fixes is expected, not a fault to report.
            output.counts["loss_scale"] = self.loss_scale.value.clone()
            finite = loss_finite & (step_applied | self.loss_scale.can_shrink())
            self.loss_scale.update(step_applied)
            norm = torch.where(step_applied, norm, 0.0)
        output.counts["grad_norm"] = norm
        return Updated(output, finite)

    def _in_parts(self, batch: Any, parts: list[Any], epoch: int, iteration: int) -> StepOutput:
        passes = PartPasses(self.task, self.model, self.stepped, self._backward, epoch, iteration)
        if self._options.grad_cache:
            return passes.cached(batch, parts)
        return passes.accumulated(parts)

    def _backward(self, loss: Tensor) -> None:
        (loss * self.loss_scale.value if self.loss_scale else loss).backward()

    def _step_if(self, flag: Tensor) -> None:
        """Let the optimizer step if `flag`, a () bool on the device, is true.

        Fused optimizers read the flag on the device once they have their state; for others the
        host has to read it.
        """
        groups = self.optimizer.param_groups
        stateless = all(group.get("momentum", 1) == 0 for group in groups)
        if self._fused and (self.optimizer.state or stateless):
            self.optimizer.found_inf = (~flag).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif flag:
            self.optimizer.step()

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """The model with the weights to validate: the averaged ones if there is an average."""
        with self.average.swapped_in() if self.average else nullcontext():
            yield self.model

    def state_dict(self) -> dict[str, Any]:
        """State for an exact resume, in addition to weights and optimizer."""
        parts = {"average": self.average, "loss_scale": self.loss_scale}
        states = {name: part.state_dict() for name, part in parts.items() if part}
        task = self.task.state_dict()
        return {**states, "task": task} if task else states

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a `state_dict`. Call after loading the weights: without an average in the state,
        it is initialised from them."""
        if self.average:
            self.average.load_state_dict(state.get("average", published_state_dict(self.model)))
        if self.loss_scale and "loss_scale" in state:
            self.loss_scale.load_state_dict(state["loss_scale"])
        if "task" in state:
            self.task.load_state_dict(state["task"], self._parameters[0].device)
