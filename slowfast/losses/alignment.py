"""View alignment L_a of SUM-L (arXiv 2308.11489): ego and exo embeddings of similar narrations.

Legend: N pairs, n pairs of this process, M pairs of all processes, P kept pairs, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast.losses.dcl import dcl_rows


def view_alignment(
    z_ego: Tensor,
    z_exo: Tensor,
    d_ego: Tensor,
    d_exo: Tensor,
    temperature: float,
    threshold: float,
    sigma: float | None = None,
    kind: str = "dcl",
    permutation: Tensor | None = None,
    margin: float = 0.1,
    related: Tensor | None = None,
    join_related: bool = False,
) -> Tensor:
    """L_a of one process; all inputs (N, D) with rows of norm 1, row i of each is pair i.

    dcl: DCL(z_ego -> z_exo) + DCL(z_exo -> z_ego) over the pairs with d_ego.d_exo > threshold.
    dcl_weighted: the same, the positive of pair i weighted by |P| softmax(s / sigma)_i.
    triplet: all pairs; anchor z_ego, positive z_exo, negative the rows `permutation` (N,) of
        z_ego, which may hold fixed points (as released).
    soft: all pairs, `soft_alignment_share` with the relevance d_ego_i.d_exo_j.
    none: zero. So is a DCL over fewer than two kept pairs; both zeros keep the graph.
    related (N, N) bool and join_related: of both DCL, as `decoupled_contrastive`.

    Raises: ValueError for an unknown kind, or one that lacks its argument.
    """
    if kind == "none":
        return 0 * (z_ego.sum() + z_exo.sum())
    if kind == "triplet":
        if permutation is None:
            raise ValueError("kind triplet needs the permutation of its negatives")
        return triplet(z_ego, z_exo, z_ego[permutation], margin)
    if kind == "soft":
        if sigma is None:
            raise ValueError("kind soft needs sigma")
        relevance = d_ego @ d_exo.T
        return soft_alignment_share(
            z_ego, z_exo, z_ego, z_exo, relevance, relevance.T, temperature, sigma
        )
    similarity = (d_ego * d_exo).sum(1)
    positions = torch.arange(len(z_ego), device=z_ego.device)
    return alignment_share(
        z_ego,
        z_exo,
        z_ego,
        z_exo,
        similarity,
        positions,
        temperature,
        threshold,
        sigma,
        kind,
        related=related,
        join_related=join_related,
    )


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """mean_i max(0, |a_i - p_i| - |a_i - n_i| + margin), L2 norms; inputs (N, D)."""
    return F.triplet_margin_loss(anchor, positive, negative, margin=margin)


def alignment_share(
    z_ego: Tensor,
    z_exo: Tensor,
    z_ego_all: Tensor,
    z_exo_all: Tensor,
    similarity_all: Tensor,
    positions: Tensor,
    temperature: float,
    threshold: float,
    sigma: float | None = None,
    kind: str = "dcl",
    related: Tensor | None = None,
    join_related: bool = False,
    extra: Tensor | None = None,
    extra_excluded: Tensor | None = None,
) -> Tensor:
    """This process's share of L_a over the pairs of all processes: its anchors, over |P|.

    The sum of the shares is L_a of the joined batch. Processes may hold any number of pairs.

    z_ego, z_exo: (n, D), rows `positions` (n,) of z_ego_all, z_exo_all (M, D).
    similarity_all: (M,) of the narrations of each pair. kind: dcl or dcl_weighted.
    related: (n, M) bool, pairs that are no negatives of each other; join_related: but positives.
    extra: (Q, D) further negatives of both directions, but for extra_excluded (n, Q) bool.

    Raises: ValueError for another kind, or for dcl_weighted without sigma.
    """
    kept_all = similarity_all > threshold
    weight = None
    if kind == "dcl_weighted":
        if sigma is None:
            raise ValueError("kind dcl_weighted needs sigma")
        weight = pair_weights(similarity_all, kept_all, sigma)[positions]
    elif kind != "dcl":
        raise ValueError(f"kind {kind!r} is none of dcl, dcl_weighted, triplet, soft, none")
    shared = (
        *(positions, temperature, weight, kept_all, related, join_related),
        *(True, extra, extra_excluded),
    )
    ego_rows = dcl_rows(z_ego, z_exo, z_ego_all, z_exo_all, *shared)
    exo_rows = dcl_rows(z_exo, z_ego, z_exo_all, z_ego_all, *shared)
    rows = ego_rows + exo_rows
    kept_rows = torch.where(kept_all[positions], rows, 0 * rows)
    return kept_rows.sum() / kept_all.sum().clamp(min=1)


def soft_alignment_share(
    z_ego: Tensor,
    z_exo: Tensor,
    z_ego_all: Tensor,
    z_exo_all: Tensor,
    ego_relevance: Tensor,
    exo_relevance: Tensor,
    temperature: float,
    sigma: float,
) -> Tensor:
    """This process's share of L_a with soft targets (arXiv 2303.17561, 2506.14356).

    1/M sum_i sum_j [ -q_ij log p_ij - q'_ij log p'_ij ], over all pairs, kept or not, with
    q_ij = softmax_j(s_ij / sigma), p_ij = softmax_j(z_ego_i . z_exo_j / tau), and q', p' the same
    with the views exchanged. The sum of the shares is L_a of the joined batch.

    z_ego, z_exo: (n, D). z_ego_all, z_exo_all: (M, D), of all processes. ego_relevance: (n, M),
        s of ego clip i and exo clip j; exo_relevance: (n, M), s of exo clip i and ego clip j.
    """
    rows = torch.zeros_like(z_ego[:, 0])
    for u, v_all, relevance in (
        (z_ego, z_exo_all, ego_relevance),
        (z_exo, z_ego_all, exo_relevance),
    ):
        target = (relevance.to(u.dtype) / sigma).softmax(1)
        rows = rows - (target * (u @ v_all.T / temperature).log_softmax(1)).sum(1)
    return rows.sum() / max(len(z_ego_all), 1)


def pair_weights(similarity: Tensor, kept: Tensor, sigma: float) -> Tensor:
    """w = |P| softmax(s / sigma) over the kept pairs, whose mean is 1; 0 for the others.

    similarity: (M,). kept: (M,) bool.
    """
    # The lowest finite number in place of -inf: no NaN where no pair is kept.
    lowest = torch.finfo(similarity.dtype).min
    return kept.sum() * (similarity / sigma).masked_fill(~kept, lowest).softmax(0)
