"""One-way decoupled contrastive loss (DCL, arXiv 2110.06848).

Legend: N rows, n anchors of this process, M rows of all processes, D width. Rows have norm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def decoupled_contrastive(
    u: Tensor, v: Tensor, temperature: float, weight: Tensor | None = None
) -> Tensor:
    """DCL(u -> v), a scalar.

    mean_i [ -w_i u_i.v_i/tau + log( sum_{j!=i} exp(u_i.u_j/tau) + sum_{j!=i} exp(u_i.v_j/tau) ) ]

    u, v: (N, D), row i of one belongs to row i of the other. weight: w (N,), None for 1.
    A single row has no negatives: a zero that keeps the graph.
    """
    positions = torch.arange(len(u), device=u.device)
    return dcl_rows(u, v, u, v, positions, temperature, weight).sum() / max(len(u), 1)


def dcl_rows(
    u: Tensor,
    v: Tensor,
    u_all: Tensor,
    v_all: Tensor,
    positions: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    candidates: Tensor | None = None,
) -> Tensor:
    """The loss of each anchor, (n,), with the negatives of all processes.

    u, v: (n, D) anchors and positives. u_all, v_all: (M, D), the rows of all processes; row
        positions[i] (n,) of them is row i of u and v, and no negative of it.
    weight: (n,) of the positives. candidates: (M,) bool, the rows that may be negatives.
    An anchor without negatives gives a zero that keeps the graph. Memory O(n M); nothing waits
    for the device.
    """
    positive = (u * v).sum(1) / temperature
    if weight is not None:
        positive = weight * positive
    excluded = positions[:, None] == torch.arange(len(u_all), device=u.device)  # (n, M)
    if candidates is not None:
        excluded = excluded | ~candidates
    alone = excluded.all(1)
    # Anchors without negatives keep them here: the gradient through log(0) is NaN, even times 0.
    excluded = excluded & ~alone[:, None]
    negative = torch.logaddexp(
        _log_sum_exp(u @ u_all.T, temperature, excluded),
        _log_sum_exp(u @ v_all.T, temperature, excluded),
    )
    rows = negative - positive
    return torch.where(alone, 0 * rows, rows)


def _log_sum_exp(cosines: Tensor, temperature: float, excluded: Tensor) -> Tensor:
    """Over the rest of each row of `cosines` (n, M), which is overwritten."""
    return cosines.div_(temperature).masked_fill_(excluded, float("-inf")).logsumexp(1)
