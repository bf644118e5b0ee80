"""The clips of all processes as one batch, and which of them have the same meaning.

Legend: n rows of this process, M rows of all processes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.config.derived import BY_LABEL
from slowfast.losses.dcl import Anchors, Negatives
from slowfast.losses.negatives import same_classes, same_text
from slowfast.utils import distributed


class Meaning(NamedTuple):
    """Labels and texts by which rows are compared; agreement in one of them is enough.

    labels: lists of labels, per task (n,) or (n, K). texts: (n, D) each.
    """

    labels: Sequence[Sequence[Tensor]]
    texts: Sequence[Tensor]


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
        return self._negatives in BY_LABEL

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

    def negatives(self, mine: Meaning, theirs: Meaning | None = None) -> Negatives:
        """All rows except those with the same meaning, which may be positives instead.

        mine, theirs: of this process's rows, as they are compared with those of all processes.
        """
        related = self.same(mine, mine if theirs is None else theirs, gather=True)
        return Negatives(related=related, join_related=self._negatives == "multi_positive")

    def same(self, mine: Meaning, theirs: Meaning, *, gather: bool) -> Tensor | None:
        """(n, M) bool, whether two rows have the same meaning; None: no rows do.

        gather: `theirs` are rows of this process, which are compared as those of all.
        """
        # Gathered only where they are used.
        rows = self.gathered if gather else _unchanged
        if self._negatives == "all":
            return None
        if self._negatives == "drop_same_text":
            pairs = zip(mine.texts, theirs.texts, strict=True)
            found = [same_text(d, rows(d_all)) for d, d_all in pairs]
        else:
            lists = zip(mine.labels, theirs.labels, strict=True)
            found = [same_classes(labels, map(rows, labels_all)) for labels, labels_all in lists]
        return torch.stack(found).any(0)


def _unchanged(rows: Tensor) -> Tensor:
    return rows


def build_peers(cfg: CfgNode, gather: bool = True) -> Peers:
    """Peers for the SUML keys of a config. gather False uses only this process's rows."""
    return Peers(cfg.SUML.GATHER and gather, cfg.SUML.NEGATIVES)
