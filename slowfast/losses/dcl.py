"""One-way decoupled contrastive loss (DCL, arXiv 2110.06848).

Legend: N rows, n anchors of this process, M rows of all processes, Q extra rows, D width. Rows
have norm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Anchors(NamedTuple):
    """Anchors of this process, their positives, and the rows of all processes.

    u, v: (n, D) anchors and positives. u_all, v_all: (M, D).
    positions: (n,) int64. Row positions[i] of u_all and v_all is row i of u and v.
    """

    u: Tensor
    v: Tensor
    u_all: Tensor
    v_all: Tensor
    positions: Tensor

    @classmethod
    def local(cls, u: Tensor, v: Tensor) -> Anchors:
        """Anchors of a single process, whose rows (N, D) are all rows."""
        return cls(u, v, u, v, torch.arange(len(u), device=u.device))

    def swapped(self) -> Anchors:
        """Exchange anchors and positives, for the other direction."""
        return Anchors(self.v, self.u, self.v_all, self.u_all, self.positions)


class ExtraNegatives(NamedTuple):
    """Extra negatives that belong to no pair of the batch.

    rows: (Q, D). excluded: (n, Q) bool, rows that are not negatives of an anchor.
    """

    rows: Tensor
    excluded: Tensor


@dataclass(frozen=True)
class Negatives:
    """Choice of the negatives of an anchor. By default all rows except its own.

    candidates: (M,) bool, rows that may be negatives, or positives of other rows; None for all.
    related: R (n, M) bool or None: row j is not a negative of anchor i if R_ij.
    join_related: related rows are positives instead (EgoNCE, arXiv 2206.01670): the positive term
        becomes -w_i log( exp(u_i.v_i/tau) + sum_{j!=i: R_ij} exp(u_i.v_j/tau) ).
    within: False omits the negatives u_j, the first sum of DCL.
    extra: further negatives.
    """

    candidates: Tensor | None = None
    related: Tensor | None = None
    join_related: bool = False
    within: bool = True
    extra: ExtraNegatives | None = None


ALL_OTHER_ROWS = Negatives()


def decoupled_contrastive(
    u: Tensor,
    v: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    negatives: Negatives = ALL_OTHER_ROWS,
) -> Tensor:
    """DCL(u -> v), a scalar.

    mean_i [ -w_i u_i.v_i/tau + log( sum_{j!=i} exp(u_i.u_j/tau) + sum_{j!=i} exp(u_i.v_j/tau) ) ]

    u, v: (N, D), row i of one belongs to row i of the other. weight: w (N,), None for 1.
    An anchor without negatives counts as 0 and keeps the graph.
    """
    rows = dcl_rows(Anchors.local(u, v), temperature, weight, negatives)
    return rows.sum() / max(len(u), 1)


def dcl_rows(
    anchors: Anchors,
    temperature: float,
    weight: Tensor | None = None,
    negatives: Negatives = ALL_OTHER_ROWS,
) -> Tensor:
    """Loss of each anchor (n,), with the negatives of all processes.

    weight: (n,) weights of the positives, None for 1. An anchor without negatives gives a zero
    that keeps the graph. Takes O(n M) memory, and the host never waits for the device.
    """
    u, v, u_all, v_all, positions = anchors
    excluded = _excluded(positions, len(u_all), negatives)
    parts = [u_all, v_all] if negatives.within else [v_all]
    if negatives.extra is not None:
        # Join the parts first: one part may be empty if only the extra rows are negatives.
        excluded = torch.cat([excluded] * len(parts) + [negatives.extra.excluded], dim=1)
        parts = [torch.cat([*parts, negatives.extra.rows])]
    alone = excluded.all(1)
    # Keep all terms of anchors without negatives here, because the gradient through log(0) is NaN
    # even when it is multiplied by 0.
    excluded = excluded & ~alone[:, None]
    if negatives.join_related and negatives.related is not None:
        others = negatives.related
        if negatives.candidates is not None:
            others = others & negatives.candidates
        own = own_rows(positions, len(u_all))
        positive = _log_sum_exp(u @ v_all.T, temperature, ~(own | others))
    else:
        positive = (u * v).sum(1) / temperature
    if weight is not None:
        positive = weight * positive
    sums = [_log_sum_exp(u @ part.T, temperature, excluded) for part in parts]
    negative = torch.logaddexp(*sums) if len(sums) == 2 else sums[0]
    rows = negative - positive
    return torch.where(alone, 0 * rows, rows)


def without_negatives(anchors: Anchors, negatives: Negatives) -> Tensor:
    """Anchors without any negative: (n,) bool."""
    alone = _excluded(anchors.positions, len(anchors.u_all), negatives).all(1)
    return alone if negatives.extra is None else alone & negatives.extra.excluded.all(1)


def own_rows(positions: Tensor, count: int) -> Tensor:
    """Mask (n, M) bool of each anchor's own row among the `count` rows of all processes."""
    return positions[:, None] == torch.arange(count, device=positions.device)


def _excluded(positions: Tensor, count: int, negatives: Negatives) -> Tensor:
    """Mask (n, M) bool of the rows that are not negatives of an anchor."""
    excluded = own_rows(positions, count)
    if negatives.candidates is not None:
        excluded = excluded | ~negatives.candidates
    if negatives.related is not None:
        excluded = excluded | negatives.related
    return excluded


def _log_sum_exp(cosines: Tensor, temperature: float, excluded: Tensor) -> Tensor:
    """Log-sum-exp over the entries of each row of `cosines` (n, M) that are kept; overwrites it."""
    return cosines.div_(temperature).masked_fill_(excluded, float("-inf")).logsumexp(1)
