"""Steps whose loss or gradient is not finite: masked on the device, read at the next log line."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from slowfast.models.norms import running_statistics
from slowfast.tasks.base import StepOutput


class NormStatistics:
    """The running statistics of a model's batch norms, as they were before a forward pass."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._kept: Tensor | None = None

    def keep(self) -> None:
        statistics = running_statistics(self._model)
        self._kept = torch.cat(statistics) if statistics else None

    def restore_unless(self, finite: Tensor) -> None:
        """Restore what was kept if `finite`, a () bool on the device, is false."""
        if self._kept is None:
            return
        statistics = running_statistics(self._model)
        chosen = torch.where(finite, torch.cat(statistics), self._kept)
        torch._foreach_copy_(statistics, list(chosen.split([len(x) for x in statistics])))


class BadStep(NamedTuple):
    """A step that changed nothing: which of this rank's terms were not finite, if any."""

    epoch: int
    iteration: int
    terms: tuple[str, ...]


class _Watched(NamedTuple):
    epoch: int
    iteration: int
    names: tuple[str, ...]
    finite: Tensor


class FiniteWatch:
    """Record on the device of which terms were finite in which steps, until `read`."""

    def __init__(self) -> None:
        self._steps: list[_Watched] = []
        self._bad: list[BadStep] = []

    def add(self, epoch: int, iteration: int, output: StepOutput, finite: Tensor) -> None:
        """finite: () bool, whether the step counted on all ranks."""
        values = torch.stack([loss.detach().float() for loss in output.losses.values()])
        flags = torch.cat([finite[None], torch.isfinite(values)])
        self._steps.append(_Watched(epoch, iteration, tuple(output.losses), flags))

    def read(self) -> list[BadStep]:
        """The masked steps since the last call, the same ones on every rank. Waits for the device.

        If all terms of this rank are finite, a gradient or another rank's term was not.
        """
        self._settle()
        bad, self._bad = self._bad, []
        return bad

    def state_dict(self) -> list[Any]:
        """The steps that `read` would return, which remain unread. Waits for the device."""
        self._settle()
        return [[step.epoch, step.iteration, list(step.terms)] for step in self._bad]

    def load_state_dict(self, state: list[Any]) -> None:
        self._bad = [BadStep(epoch, iteration, tuple(terms)) for epoch, iteration, terms in state]

    def _settle(self) -> None:
        steps, self._steps = self._steps, []
        if not steps:
            return
        flags: list[list[bool]] = _by_step([step.finite for step in steps])
        self._bad += [
            BadStep(
                step.epoch,
                step.iteration,
                tuple(name for name, ok in zip(step.names, terms, strict=True) if not ok),
            )
            for step, (whole, *terms) in zip(steps, flags, strict=True)
            if not whole
        ]


def _by_step(flags: list[Tensor]) -> Any:
    """Flags on the host, in one transfer if all steps have the same terms, as nearly always."""
    if len({len(step) for step in flags}) == 1:
        return torch.stack(flags).tolist()
    return [step.tolist() for step in flags]
