"""One-way decoupled contrastive loss (arXiv 2110.06848).

Legend: n anchors of this process, M rows of all processes, D width. Rows are L2-normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor


def decoupled_contrastive(
    u: Tensor, v: Tensor, temperature: float, weight: Tensor | None = None
) -> Tensor:
    """mean_i [ -w_i u_i.v_i / tau + log( sum_{j!=i} exp(u_i.u_j/tau) + exp(u_i.v_j/tau) ) ].

    u, v: (N, D), row i of one belongs to row i of the other. weight: (N,) or None for 1.
    A single row has no negatives: a zero that keeps the graph.
    """
    positions = torch.arange(len(u), device=u.device)
    return dcl_rows(u, v, u, v, positions, temperature, weight).mean()


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
    """The loss of each anchor, (n,), against the negatives of all processes.

    u, v: (n, D) anchors and positives; u_all, v_all: (M, D) the rows of all processes, of which
        rows `positions` (n,) are u and v.
    weight: (n,) of the positives. candidates: (M,) bool, the rows that may be negatives.
    An anchor without negatives gives a zero that keeps the graph. Memory O(n M); no host
    synchronisation.
    """
    positive = (u * v).sum(1) / temperature
    if weight is not None:
        positive = positive * weight
    excluded = torch.arange(len(u_all), device=u.device) == positions[:, None]
    if candidates is not None:
        excluded = excluded | ~candidates
    alone = excluded.all(1)
    excluded = (excluded & ~alone[:, None]).repeat(1, 2)
    negatives = torch.cat([u @ u_all.T, u @ v_all.T], dim=1) / temperature
    rows = negatives.masked_fill(excluded, float("-inf")).logsumexp(1) - positive
    return torch.where(alone, 0 * positive, rows)
