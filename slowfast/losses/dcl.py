"""One-way decoupled contrastive loss (DCL, arXiv 2110.06848).

Legend: N rows, n anchors of this process, M rows of all processes, D width. Rows have norm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def decoupled_contrastive(
    u: Tensor,
    v: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    related: Tensor | None = None,
    join_related: bool = False,
    within: bool = True,
) -> Tensor:
    """DCL(u -> v), a scalar.

    mean_i [ -w_i u_i.v_i/tau + log( sum_{j!=i} exp(u_i.u_j/tau) + sum_{j!=i} exp(u_i.v_j/tau) ) ]

    u, v: (N, D), row i of one belongs to row i of the other. weight: w (N,), None for 1.
    related: R (N, N) bool, None for none: both sums leave out the rows j of R_ij too.
    join_related: these are positives then (EgoNCE, arXiv 2206.01670): the first term becomes
        -w_i log( exp(u_i.v_i/tau) + sum_{j!=i: R_ij} exp(u_i.v_j/tau) ).
    within: False leaves out the negatives u_j, the first sum.
    An anchor without negatives counts as 0, and keeps the graph.
    """
    positions = torch.arange(len(u), device=u.device)
    rows = dcl_rows(
        u,
        v,
        u,
        v,
        positions,
        temperature,
        weight,
        related=related,
        join_related=join_related,
        within=within,
    )
    return rows.sum() / max(len(u), 1)


def dcl_rows(
    u: Tensor,
    v: Tensor,
    u_all: Tensor,
    v_all: Tensor,
    positions: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    candidates: Tensor | None = None,
    related: Tensor | None = None,
    join_related: bool = False,
    within: bool = True,
    extra: Tensor | None = None,
    extra_excluded: Tensor | None = None,
) -> Tensor:
    """The loss of each anchor, (n,), with the negatives of all processes.

    u, v: (n, D) anchors and positives. u_all, v_all: (M, D), the rows of all processes; row
        positions[i] (n,) of them is row i of u and v, and no negative of it.
    weight: (n,) of the positives. candidates: (M,) bool, the rows that may be negatives, or
        positives of other rows. related (n, M) bool, join_related, within: as
        `decoupled_contrastive`.
    extra: (Q, D), further negatives, which belong to no anchor, but for extra_excluded (n, Q) bool.
    An anchor without negatives gives a zero that keeps the graph. Memory O(n M); nothing waits
    for the device.
    """
    excluded = not_negative(positions, len(u_all), candidates, related)
    parts = [u_all, v_all] if within else [v_all]
    if extra is not None and extra_excluded is not None:
        # As one part, which is not empty where the extra rows are all the negatives there are.
        excluded = torch.cat([excluded] * len(parts) + [extra_excluded], dim=1)
        parts = [torch.cat([*parts, extra])]
    alone = excluded.all(1)
    # Anchors without negatives keep them here: the gradient through log(0) is NaN, even times 0.
    excluded = excluded & ~alone[:, None]
    if join_related and related is not None:
        own = not_negative(positions, len(u_all))
        others = related if candidates is None else related & candidates
        positive = _log_sum_exp(u @ v_all.T, temperature, ~(own | others))
    else:
        positive = (u * v).sum(1) / temperature
    if weight is not None:
        positive = weight * positive
    sums = [_log_sum_exp(u @ part.T, temperature, excluded) for part in parts]
    negative = torch.logaddexp(*sums) if len(sums) == 2 else sums[0]
    rows = negative - positive
    return torch.where(alone, 0 * rows, rows)


def not_negative(
    positions: Tensor,
    count: int,
    candidates: Tensor | None = None,
    related: Tensor | None = None,
) -> Tensor:
    """(n, M) bool: which of `count` rows are no negatives of an anchor; arguments as `dcl_rows`."""
    excluded = positions[:, None] == torch.arange(count, device=positions.device)
    if candidates is not None:
        excluded = excluded | ~candidates
    if related is not None:
        excluded = excluded | related
    return excluded


def _log_sum_exp(cosines: Tensor, temperature: float, excluded: Tensor) -> Tensor:
    """Over the rest of each row of `cosines` (n, M), which is overwritten."""
    return cosines.div_(temperature).masked_fill_(excluded, float("-inf")).logsumexp(1)
