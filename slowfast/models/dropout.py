"""Dropout with its own generator, so that the halves of a model draw independently."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Position(NamedTuple):
    """Position of a dropout in its sequence of masks; generator None: no mask was drawn yet."""

    seed: int
    generator: torch.Generator | None


class SeededDropout(nn.Module):
    """Inverted dropout: entries are zeroed with probability `rate`, the rest divided by 1 - rate.

    After `reseed`, the masks depend on the seed alone, also in a resumed run; the seed is 0 before.
    Draws nothing in eval mode or at rate 0, and never from torch's global generator.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self._seed = 0
        self._generator: torch.Generator | None = None

    def reseed(self, seed: int) -> None:
        self._seed = seed
        self._generator = None

    def position(self) -> Position:
        """The position that `go_to` takes to draw the next masks again."""
        return Position(self._seed, self._generator.clone_state() if self._generator else None)

    def go_to(self, position: Position) -> None:
        self.reseed(position.seed)
        if position.generator is not None:
            self._generator = position.generator.clone_state()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        if self._generator is None or self._generator.device != x.device:
            self._generator = torch.Generator(x.device).manual_seed(self._seed)
        keep = 1.0 - self.rate
        mask = torch.empty_like(x).bernoulli_(keep, generator=self._generator)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def reseed_dropout(module: nn.Module, seed: int) -> None:
    """Reseed every `SeededDropout` of `module`."""
    for child in module.modules():
        if isinstance(child, SeededDropout):
            child.reseed(seed)
