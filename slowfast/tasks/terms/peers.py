"""The clips of all processes as one batch, and which of them have the same meaning.

Legend: n rows of this process, M rows of all processes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.losses.dcl import Anchors, Negatives
from slowfast.losses.negatives import same_classes, same_text
from slowfast.utils import distributed


class Peers:
    """gather: rows of all processes are negatives (SUML.GATHER). negatives: SUML.NEGATIVES."""

    def __init__(self, gather: bool, negatives: str) -> None:
        self._gather = gather
        self._negatives = negatives

    @property
    def processes(self) -> int:
        """Number of processes whose rows are negatives."""
        return distributed.world_size() if self._gather else 1

    @property
    def compares_labels(self) -> bool:
        """Whether labels decide if clips have the same meaning."""
        return self._negatives in ("drop_same_label", "multi_positive")

    def gathered(self, rows: Tensor) -> Tensor:
        """(n, ...) -> (M, ...), with gradients."""
        return distributed.all_gather(rows) if self._gather else rows

    def positions(self, rows: Tensor) -> Tensor:
        """(n,) int64, the places of this process's rows among the gathered ones."""
        first = distributed.rank() * len(rows) if self._gather else 0
        return torch.arange(first, first + len(rows), device=rows.device)

    def anchors(self, u: Tensor, v: Tensor) -> Anchors:
        """Rows (n, D) and their positives (n, D) among those of all processes."""
        return Anchors(u, v, self.gathered(u), self.gathered(v), self.positions(u))

    def negatives(self, labels: Sequence[Tensor], texts: Sequence[Tensor]) -> Negatives:
        """All rows except those with the same meaning, which may be positives instead.

        labels: per task, (n,) or (n, K). texts: (n, D) each; clips have the same meaning if any of
        their texts agree.
        """
        # Gathered only where they are used.
        related = self.same(labels, map(self.gathered, labels), texts, map(self.gathered, texts))
        return Negatives(related=related, join_related=self._negatives == "multi_positive")

    def same(
        self,
        labels: Iterable[Tensor],
        labels_all: Iterable[Tensor],
        texts: Iterable[Tensor],
        texts_all: Iterable[Tensor],
    ) -> Tensor | None:
        """(n, M) bool, whether two rows have the same meaning; None: no rows do."""
        if self._negatives == "all":
            return None
        if self._negatives == "drop_same_text":
            found = [same_text(d, d_all) for d, d_all in zip(texts, texts_all, strict=True)]
            return torch.stack(found).any(0)
        return same_classes(labels, labels_all)


def build_peers(cfg: CfgNode, gather: bool = True) -> Peers:
    """Peers for the SUML keys of a config. gather False uses only this process's rows."""
    return Peers(cfg.SUML.GATHER and gather, cfg.SUML.NEGATIVES)
