"""Exponential moving average of the weights (arXiv 1703.01780), for validation and test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from slowfast.models.published_names import published_state_dict


class WeightAverage:
    """average <- decay * average + (1 - decay) * weights, after every step.

    Running statistics of batch norms are averaged alike; counters are copied. Names are the
    published ones, as in the weights of a checkpoint.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._weights = published_state_dict(model)
        self._average = {name: weight.clone() for name, weight in self._weights.items()}

    @torch.no_grad()
    def update(self, step_applied: Tensor) -> None:
        """Move towards the weights after a step.

        step_applied: () bool on the device; false leaves all but the batch counters as they are.
        """
        names = [name for name, weight in self._weights.items() if weight.is_floating_point()]
        averages = [self._average[name] for name in names]
        towards = torch._foreach_sub([self._weights[name] for name in names], averages)
        torch._foreach_mul_(towards, (1.0 - self._decay) * step_applied)
        torch._foreach_add_(averages, towards)
        counters = sorted(self._weights.keys() - set(names))
        if counters:
            torch._foreach_copy_(
                [self._average[name] for name in counters],
                [self._weights[name] for name in counters],
            )

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block; changes to them are lost."""
        own = {name: weight.clone() for name, weight in self._weights.items()}
        _copy(self._average, self._weights)
        try:
            yield
        finally:
            _copy(own, self._weights)

    def state_dict(self) -> dict[str, Tensor]:
        """The average by published name."""
        return dict(self._average)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        _copy(state, self._average)


@torch.no_grad()
def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
