"""One optimizer step: forward, backward, and an update that all ranks make or none does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from slowfast.engine.solver import clip_gradients
from slowfast.engine.step import batches as chunks
from slowfast.engine.step.ema import WeightAverage
from slowfast.engine.step.finite import NormStatistics
from slowfast.engine.step.precision import LossScale
from slowfast.models.norms import RunningStatistics
from slowfast.models.published_names import published_state_dict
from slowfast.tasks.base import StepOutput, Task
from slowfast.utils import distributed


class Updated(NamedTuple):
    """What one step gave.

    finite: () bool on the device; false: a loss or gradient was not finite on some rank. Such a
        step changed no weight and no running mean or variance. Overflow that a loss scale can mend
        changes none either, but does not count as not finite.
    """

    output: StepOutput
    finite: Tensor


@dataclass(frozen=True)
class UpdateOptions:
    """How a step is made; the defaults are one plain pass.

    parts: that the batch goes through the model in, one after the other (gradient accumulation).
    grad_cache: losses of the joined outputs of all parts (GradCache, arXiv 2101.06983): the parts
        run without a graph first, and again to take the gradients of their outputs back.
    max_gradient, max_gradient_norm: as `clip_gradients`. ema_decay: 0: no average.
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
    """Steps a model. Holds the state of training beside the weights: `state_dict`."""

    def __init__(
        self,
        model: nn.Module,
        stepped: nn.Module,
        task: Task,
        optimizer: torch.optim.Optimizer,
        options: UpdateOptions | None = None,
    ) -> None:
        """model: on its device, with its initial weights. stepped: `model`, or what wraps it for
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
        """batch: on the device. A loss or gradient that is not finite on one rank voids the step
        on all of them, without the host having to know."""
        self._statistics.keep()
        self.optimizer.zero_grad(set_to_none=True)
        output = self._backward(batch, epoch, iteration)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self.loss_scale:
            self.loss_scale.unscale(gradients)
        norm = nn.utils.get_total_norm(gradients)
        good_loss, made = distributed.all_reduce_and(
            torch.stack([torch.isfinite(output.total), torch.isfinite(output.total + norm)])
        )
        clip_gradients(
            self._parameters, norm, self._options.max_gradient, self._options.max_gradient_norm
        )
        self._statistics.restore_unless(made)
        self._step_if(made)
        if self.average:
            self.average.update(made)
        self.task.finish_step(self.model, made)
        finite = made
        if self.loss_scale:
            output.counts["loss_scale"] = self.loss_scale.value.clone()
            finite = good_loss & (made | self.loss_scale.can_shrink())
            self.loss_scale.update(made)
        output.counts["grad_norm"] = torch.where(made, norm, 0.0) if self.loss_scale else norm
        return Updated(output, finite)

    def _backward(self, batch: Any, epoch: int, iteration: int) -> StepOutput:
        parts = chunks.split(batch, self._options.parts) if self._options.parts > 1 else [batch]
        if len(parts) == 1:
            output = self.task.step(self.stepped, batch, epoch, iteration)
            self._scaled(output.total).backward()
            return output
        if self._options.grad_cache:
            return self._backward_through_cache(batch, parts, epoch, iteration)
        rows = [len(next(chunks.tensors(part))) for part in parts]
        shares = [count / sum(rows) for count in rows]
        steps: list[StepOutput] = []
        for output in self._passes(parts, epoch, iteration):
            step = self.task.losses(output, parts[len(steps)], epoch, iteration)
            self._scaled(step.total * shares[len(steps)]).backward()
            steps.append(step)
        return chunks.merged(steps, shares)

    def _backward_through_cache(
        self, batch: Any, parts: list[Any], epoch: int, iteration: int
    ) -> StepOutput:
        statistics = RunningStatistics(self.model)
        with torch.no_grad():
            outputs = [
                self._forward(part, epoch, iteration, index, len(parts))
                for index, part in enumerate(parts)
            ]
        statistics.restore()
        cached = chunks.joined(outputs)
        leaves = list(chunks.tensors(cached))
        for leaf in leaves:
            leaf.requires_grad_()
        step = self.task.losses(cached, batch, epoch, iteration)
        self._scaled(step.total).backward()
        start = 0
        for output in self._passes(parts, epoch, iteration):
            ends = list(chunks.tensors(output))
            rows = slice(start, start + len(ends[0]))
            used = [
                (end, leaf.grad[rows])
                for end, leaf in zip(ends, leaves, strict=True)
                if leaf.grad is not None and end.requires_grad
            ]
            torch.autograd.backward([end for end, _ in used], [gradient for _, gradient in used])
            start = rows.stop
        return step

    def _passes(self, parts: list[Any], epoch: int, iteration: int) -> Iterator[Any]:
        """The model's output for each part; its backward pass belongs before the next part.

        Gradients are summed over processes in the last one, and running statistics are updated
        once, by the mean over parts.
        """
        statistics = RunningStatistics(self.model)
        for index, part in enumerate(parts):
            last = index + 1 == len(parts)
            with nullcontext() if last else self._without_sum():
                yield self._forward(part, epoch, iteration, index, len(parts))
            statistics.take_pass()
        statistics.put_mean()

    def _forward(self, part: Any, epoch: int, iteration: int, index: int, count: int) -> Any:
        self.task.seed(self.stepped, epoch, iteration, index, count)
        return self.task.forward(self.stepped, part)

    def _without_sum(self) -> AbstractContextManager[None]:
        if isinstance(self.stepped, DistributedDataParallel):
            return self.stepped.no_sync()
        return nullcontext()

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss * self.loss_scale.value if self.loss_scale else loss

    def _step_if(self, made: Tensor) -> None:
        """Fused optimizers obey a flag on the device, once they have the state they need; others
        need the host to read it."""
        groups = self.optimizer.param_groups
        stateless = all(group.get("momentum", 1) == 0 for group in groups)
        if self._fused and (self.optimizer.state or stateless):
            self.optimizer.found_inf = (~made).float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif made:
            self.optimizer.step()

    @contextmanager
    def evaluated(self) -> Iterator[nn.Module]:
        """The model with the weights that are validated: the averaged ones where there are any."""
        with self.average.swapped_in() if self.average else nullcontext():
            yield self.model

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs beside weights and optimizer."""
        parts = {"average": self.average, "loss_scale": self.loss_scale}
        states = {name: part.state_dict() for name, part in parts.items() if part}
        task = self.task.state_dict()
        return {**states, "task": task} if task else states

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Behind the weights: an average that the state lacks starts from them."""
        if self.average:
            self.average.load_state_dict(state.get("average", published_state_dict(self.model)))
        if self.loss_scale and "loss_scale" in state:
            self.loss_scale.load_state_dict(state["loss_scale"])
        if "task" in state:
            self.task.load_state_dict(state["task"], self._parameters[0].device)
