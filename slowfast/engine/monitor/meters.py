"""Running sums of step statistics, on the device until they are read."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from slowfast.utils import distributed


class TensorSums:
    """Sums scalars by name without a host synchronisation per step."""

    def __init__(self) -> None:
        # By the names of a step: their float64 sums, and the number of steps behind these.
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, values: dict[str, Tensor], finite: Tensor) -> None:
        """One step's scalars; a step that is not `finite` (() bool) is not counted."""
        row = torch.stack(
            [value.detach().double() for value in values.values()] + [finite.double()]
        )
        self._add(tuple(values), torch.where(finite, row, 0.0))

    def merge(self, other: TensorSums) -> None:
        for names, sums in other._sums.items():
            self._add(names, sums)

    def means(self) -> dict[str, float]:
        """Means by name over the steps of all ranks, which all have the same names."""
        totals: dict[str, float] = {}
        steps: dict[str, float] = {}
        for names, sums in self._sums.items():
            *values, count = distributed.all_reduce_sum(sums).tolist()
            for name, value in zip(names, values, strict=True):
                totals[name] = totals.get(name, 0.0) + value
                steps[name] = steps.get(name, 0.0) + count
        return {name: totals[name] / steps[name] for name in totals if steps[name]}

    def state_dict(self) -> dict[str, Any]:
        return {"sums": [[list(names), sums.cpu()] for names, sums in self._sums.items()]}

    def add_state(self, state: dict[str, Any], device: torch.device, counted: bool = True) -> None:
        """counted: False adds only the names, which must be the same on every rank."""
        for names, sums in state["sums"]:
            self._add(tuple(names), sums.to(device) * counted)

    def _add(self, names: tuple[str, ...], sums: Tensor) -> None:
        self._sums[names] = self._sums[names] + sums if names in self._sums else sums


class StepClock:
    """Wall time of the steps, and the share of it spent waiting for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._begun = self._last = time.perf_counter()
        self._waited = 0.0
        self.steps = 0

    def data_arrived(self) -> None:
        self._waited += time.perf_counter() - self._last

    def step_done(self) -> None:
        self._last = time.perf_counter()
        self.steps += 1

    @property
    def elapsed_sec(self) -> float:
        return self._last - self._begun

    @property
    def sec_per_step(self) -> float:
        return self.elapsed_sec / max(self.steps, 1)

    @property
    def data_wait_share(self) -> float:
        return self._waited / self.elapsed_sec if self.elapsed_sec > 0 else 0.0
