"""Draws exo segments of several sets by the weights of the sets.

Legend: m exo segments, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slowfast.config.exo_sources import ExoSource, source_index
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError


class ExoMix:
    """Set of each exo segment, and the frequency with which each set is drawn.

    source: (m,) int64, position of the set of each segment.
    ego_classes: per head, multi-hot (m, K) bool, by which clips of different sets are compared;
        None: they are not compared.
    """

    def __init__(
        self,
        sources: Sequence[ExoSource],
        segments: Sequence[Segment],
        ego_classes: Sequence[np.ndarray] | None = None,
    ) -> None:
        """Raises: UserError for a set without segments."""
        self.ego_classes = ego_classes
        self._names = [source.name for source in sources]
        self.source = np.array([source_index(s.segment_id, self._names) for s in segments])
        for number, name in enumerate(self._names):
            if not (self.source == number).any():
                raise UserError(f"exo set {name or 'EXO'} has no segments; remove it from EXO.MORE")
        weights = np.array([source.weight for source in sources])
        self._weights = weights / weights.sum()
        heads = [len(source.cfg.EXO.HEAD_NAMES) for source in sources]
        self._of_head = np.repeat(np.arange(len(heads)), heads)

    def draw(self, candidates: np.ndarray, rng: np.random.Generator) -> int:
        """Draw one of the positions `candidates`, weighted by set; without candidates, any segment.

        For any segment, a set is drawn by its weight first, then one of its segments uniformly.
        """
        if not len(candidates):
            source = rng.choice(len(self._weights), p=self._weights)
            return int(rng.choice(np.flatnonzero(self.source == source)))
        weights = self._weights[self.source[candidates]]
        return int(rng.choice(candidates, p=weights / weights.sum()))

    def labels(self, labels: tuple[Tensor, ...], segment: int) -> tuple[Tensor, ...]:
        """Multi-hot labels (K,) per head; those of the other sets' heads are all -1."""
        own = self.source[segment]
        return tuple(
            y if of == own else torch.full_like(y, -1)
            for y, of in zip(labels, self._of_head, strict=True)
        )

    def classes(self, segment: int) -> tuple[Tensor, ...] | None:
        """`ego_classes` of a segment, float32 (K,) per head."""
        if self.ego_classes is None:
            return None
        return tuple(torch.from_numpy(has[segment]).float() for has in self.ego_classes)

    def counts(self, indices: np.ndarray) -> str:
        """Number of pairs with each set, as text. indices: positions, -1 without a pair."""
        of_pair = np.bincount(self.source[indices[indices >= 0]], minlength=len(self._names))
        of_segment = np.bincount(self.source)
        parts = zip(self._names, of_pair, of_segment, strict=True)
        return "; ".join(
            f"exo set {name or 'EXO'}: {pairs} pairs, {segments} segments"
            for name, pairs, segments in parts
        )
