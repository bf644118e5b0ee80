"""Published numbers for comparison in the table of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Values of a published model: percent by name (verb_top1 ...)."""

    model: str
    values: Mapping[str, float]


def _published(model: str, verb: Sequence[float], noun: Sequence[float]) -> Published:
    """Top-1, and top-5 if it was published, of both heads."""
    named = [
        (f"{kind}_top{k}", value)
        for kind, row in (("verb", verb), ("noun", noun))
        for k, value in zip((1, 5), row, strict=False)
    ]
    return Published(model, dict(named))


# By (segments, verb classes, noun classes): the validation sets of EPIC-KITCHENS-100, and of
# EPIC-KITCHENS-55 split by video.
_PUBLISHED: Mapping[tuple[int, ...], list[Published]] = {
    (9668, 97, 300): [
        _published("SUM-L, SlowFast R101", (67.0, 90.7), (53.4, 76.9)),
        _published("Ego-Exo, SlowFast R101", (67.01,), (52.87,)),
        _published("Ego-Exo*, SlowFast R101", (67.48,), (52.93,)),
        _published("epic-kitchens-slowfast, R50", (65.56, 90.00), (50.02, 75.62)),
    ],
    (2398, 125, 352): [_published("Ego-Exo, SlowFast R50", (64.05, 88.49), (48.58, 70.06))],
}


def published_for(num_segments: int, num_classes: Sequence[int]) -> list[Published]:
    """Published results on the data set of that size; empty for any other."""
    return _PUBLISHED.get((num_segments, *num_classes), [])
