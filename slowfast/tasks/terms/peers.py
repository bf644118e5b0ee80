"""The clips of all processes as one batch, and which of them mean the same.

Legend: n rows of this process, M rows of all processes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from slowfast.datasets.types import ClipBatch
from slowfast.losses.dcl import Anchors
from slowfast.losses.negatives import same_classes, same_text
from slowfast.utils import distributed


class Peers:
    """gather: rows of all processes are negatives (SUML.GATHER). negatives: SUML.NEGATIVES."""

    def __init__(self, gather: bool, negatives: str) -> None:
        self._gather = gather
        self._negatives = negatives

    @property
    def processes(self) -> int:
        """Whose rows are negatives."""
        return distributed.world_size() if self._gather else 1

    @property
    def join(self) -> bool:
        """Rows that mean the same are positives of each other."""
        return self._negatives == "multi_positive"

    def gathered(self, rows: Tensor) -> Tensor:
        """(n, ...) -> (M, ...), with gradients."""
        return distributed.all_gather(rows) if self._gather else rows

    def positions(self, rows: Tensor) -> Tensor:
        """(n,) int64, where this process's rows stand among the gathered ones."""
        first = distributed.rank() * len(rows) if self._gather else 0
        return torch.arange(first, first + len(rows), device=rows.device)

    def anchors(self, u: Tensor, v: Tensor) -> Anchors:
        """Rows (n, D) and their positives (n, D) among those of all processes."""
        return Anchors(u, v, self.gathered(u), self.gathered(v), self.positions(u))

    def related(self, labels: Iterable[Tensor], texts: Iterable[Tensor]) -> Tensor | None:
        """(n, M) bool, which rows are taken out of the negatives; None: no row.

        By the labels, per task, or where one of the narrations is the same.
        """
        labels, texts = list(labels), list(texts)
        # Gathered only where they are used.
        return self.same(labels, map(self.gathered, labels), texts, map(self.gathered, texts))

    def same(
        self,
        labels: Iterable[Tensor],
        labels_all: Iterable[Tensor],
        texts: Iterable[Tensor],
        texts_all: Iterable[Tensor],
    ) -> Tensor | None:
        """As `related`, of rows that are not those of the batch."""
        if self._negatives == "all":
            return None
        if self._negatives == "drop_same_text":
            found = [same_text(d, d_all) for d, d_all in zip(texts, texts_all, strict=True)]
            return torch.stack(found).any(0)
        return same_classes(labels, labels_all)


def text_of(batch: ClipBatch) -> Tensor:
    """The embeddings of its narrations, (N, D)."""
    assert batch.text is not None, "the paired data set attaches narration embeddings"
    return batch.text
