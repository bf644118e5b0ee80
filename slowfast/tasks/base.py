"""The interface between the training loop and a task.

Legend: N clips of this process, K classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from slowfast.datasets.types import ClipBatch

BatchT = TypeVar("BatchT")
OutputT = TypeVar("OutputT")


@dataclass
class StepOutput:
    """Losses, logits and counts of one training step.

    losses: scalars by name, before their weights; `total` is their weighted sum.
    logits: one (N, K) tensor per head of the view that is evaluated, detached.
    labels: the labels that belong to them, (N,) int64 or multi-hot (N, K).
    counts: detached scalars whose mean over the steps is logged.
    weights: of the losses in `total`; 1 for a loss that has none here.
    """

    losses: dict[str, Tensor]
    total: Tensor
    logits: list[Tensor]
    labels: list[Tensor]
    counts: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


class Task(ABC, Generic[BatchT, OutputT]):
    """One training objective. `model` may be wrapped for distributed training."""

    @abstractmethod
    def seed(
        self, model: nn.Module, epoch: int, iteration: int, chunk: int = 0, chunks: int = 1
    ) -> None:
        """Make the dropout of the next forward pass depend only on the arguments and (seed, rank).

        chunk: which of the `chunks` parts of this process's batch the pass sees.
        """

    @abstractmethod
    def forward(self, model: nn.Module, batch: BatchT) -> OutputT:
        """The model's forward pass alone; every tensor of the output has N rows."""

    @abstractmethod
    def losses(self, output: OutputT, batch: BatchT, epoch: int, iteration: int) -> StepOutput:
        """Losses of the output of a forward pass over `batch`, whose frames are not used."""

    @abstractmethod
    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        """Scores of clips of the view that is evaluated; one (N, K) tensor per head."""

    def finish_step(self, model: nn.Module, step_applied: Tensor) -> None:
        """Update the state of the task after the optimizer.

        model: not wrapped. step_applied: () bool on the device; False for a skipped step, which
        must not change this state either.
        """

    def state_dict(self) -> dict[str, Any]:
        """State for an exact resume: tensors and containers of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Resume from a `state_dict` that is not empty."""

    def step(self, model: nn.Module, batch: BatchT, epoch: int, iteration: int) -> StepOutput:
        """Losses of one whole batch."""
        self.seed(model, epoch, iteration)
        return self.losses(self.forward(model, batch), batch, epoch, iteration)


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The sum of the losses, each times its weight (1 where none is given)."""
    terms = [loss * weights.get(name, 1.0) for name, loss in losses.items()]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
