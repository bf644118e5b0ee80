"""Test views of a segment: clips times crops, and the distinct ones among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slowfast.datasets.clips.transforms import Placement
from slowfast.datasets.types import View


@dataclass(frozen=True)
class TestViews:
    """Test views of a segment: `temporal` clips times `spatial` crops (1 or 3).

    View v is clip v // spatial, crop v % spatial.
    """

    temporal: int = 10
    spatial: int = 3

    # Keeps pytest from collecting this class, whose name starts with Test.
    __test__ = False

    def __post_init__(self) -> None:
        if self.temporal < 1 or self.spatial not in (1, 3):
            raise ValueError(f"{self.temporal} x {self.spatial} views; crops are 1 or 3")

    @property
    def crops(self) -> tuple[int, ...]:
        """Positions along the longer side: 0, 1, 2; the centre alone is 1."""
        return (1,) if self.spatial == 1 else (0, 1, 2)

    def __len__(self) -> int:
        return self.temporal * self.spatial


def merge_views(frame_positions: np.ndarray, placements: Sequence[Placement]) -> list[View]:
    """The distinct views among clips `frame_positions` (V, T) times crops, with their weights."""
    weights: dict[tuple[tuple[int, ...], int, int], int] = {}
    for positions in frame_positions.tolist():
        for placement in placements:
            view = (tuple(positions), placement.top, placement.left)
            weights[view] = weights.get(view, 0) + 1
    return [View(*view, weight) for view, weight in weights.items()]
