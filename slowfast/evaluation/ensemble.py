"""Ensemble of a segment's test views, accumulated in float64 in any order.

Legend: V views, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

METHODS = ("sum", "max")


class ViewEnsemble:
    """Scores per segment: the mean over its views (method sum) or their maximum (max).

    The order of the views changes a mean only by float64 rounding. Only segments that were added
    and not yet popped are in memory.
    """

    def __init__(self, method: str = "sum") -> None:
        if method not in METHODS:
            raise ValueError(f"ensemble method {method!r} is not one of {METHODS}")
        self._method = method
        self._joined: dict[int, list[NDArray[np.float64]]] = {}
        self._weight: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._joined)

    def add(
        self,
        segment: int,
        scores: Sequence[Tensor | NDArray],
        weights: ArrayLike | None = None,
    ) -> None:
        """Add views of a segment.

        scores: one (V, K) array per head, on any device. weights: (V,) number of equal views that
        each one represents; None: one.
        """
        per_head = [_float64(s) for s in scores]
        view_weights = np.ones(len(per_head[0])) if weights is None else np.asarray(weights, float)
        joined = [self._join(s, view_weights) for s in per_head]
        before = self._joined.get(segment)
        if before is not None:
            combine = np.add if self._method == "sum" else np.maximum
            joined = [combine(old, new) for old, new in zip(before, joined, strict=True)]
        self._joined[segment] = joined
        self._weight[segment] = self._weight.get(segment, 0.0) + float(view_weights.sum())

    def weight(self, segment: int) -> float:
        """Number of views of a segment so far, including equal ones."""
        return self._weight.get(segment, 0.0)

    def pop(self, segment: int) -> list[NDArray[np.float64]]:
        """Remove a segment and return its joined scores, one (K,) float64 array per head.

        Raises: KeyError if no view of it was added.
        """
        joined, weight = self._joined.pop(segment), self._weight.pop(segment)
        return [s / weight for s in joined] if self._method == "sum" else joined

    def _join(self, scores: NDArray[np.float64], weights: NDArray) -> NDArray[np.float64]:
        joined: NDArray[np.float64]
        if self._method == "sum":
            joined = (scores * weights[:, None]).sum(axis=0)
        else:
            joined = scores.max(axis=0)
        return joined


def _float64(scores: Tensor | NDArray) -> NDArray[np.float64]:
    if isinstance(scores, Tensor):
        return np.asarray(scores.detach().cpu().double().numpy())
    return np.asarray(scores, dtype=np.float64)
