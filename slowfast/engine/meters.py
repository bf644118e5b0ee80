"""Running sums of what the steps give, on the device until somebody asks."""

from __future__ import annotations

import time
from collections import defaultdict

import torch
from torch import Tensor


class TensorSums:
    """Sums scalars by name without a host synchronisation per step."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = defaultdict(int)

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            value = value.detach().to(torch.float64)
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._steps[name] += 1

    def means(self) -> dict[str, float]:
        return self._read({name: value / self._steps[name] for name, value in self._sums.items()})

    @staticmethod
    def _read(values: dict[str, Tensor]) -> dict[str, float]:
        if not values:
            return {}
        return dict(zip(values, torch.stack(list(values.values())).tolist(), strict=True))


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
