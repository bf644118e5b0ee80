"""Activation checkpointing (arXiv 1604.06174): activations are dropped, and recomputed in the
backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from torch import nn
from torch.utils.checkpoint import checkpoint

from slowfast.models.dropout import Position, SeededDropout
from slowfast.models.norms import kept_statistics

FeaturesT = TypeVar("FeaturesT")


def recomputed(part: nn.Module, features: FeaturesT) -> FeaturesT:
    """part(features), without storing its activations.

    The second pass draws the same dropout and leaves batch-norm statistics alone.
    """
    dropouts = [module for module in part.modules() if isinstance(module, SeededDropout)]

    def go_to(positions: list[Position]) -> None:
        for dropout, position in zip(dropouts, positions, strict=True):
            dropout.go_to(position)

    def passes() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        drawn = [dropout.position() for dropout in dropouts]
        return nullcontext(), second_pass(drawn)

    @contextmanager
    def second_pass(drawn: list[Position]) -> Iterator[None]:
        now = [dropout.position() for dropout in dropouts]
        go_to(drawn)
        try:
            with kept_statistics(part):
                yield
        finally:
            go_to(now)

    output: FeaturesT = checkpoint(part, features, use_reentrant=False, context_fn=passes)
    return output
