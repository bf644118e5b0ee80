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
) -> Tensor:
    """L_a of one process; all inputs (N, D) with rows of norm 1, row i of each is pair i.

    dcl: DCL(z_ego -> z_exo) + DCL(z_exo -> z_ego) over the pairs with d_ego.d_exo > threshold.
    dcl_weighted: the same, the positive of pair i weighted by |P| softmax(s / sigma)_i.
    triplet: all pairs; anchor z_ego, positive z_exo, negative the rows `permutation` (N,) of
        z_ego, which may hold fixed points (as released).
    none: zero. So is a DCL over fewer than two kept pairs; both zeros keep the graph.

    Raises: ValueError for an unknown kind, or one that lacks its argument.
    """
    if kind == "none":
        return 0 * (z_ego.sum() + z_exo.sum())
    if kind == "triplet":
        if permutation is None:
            raise ValueError("kind triplet needs the permutation of its negatives")
        return triplet(z_ego, z_exo, z_ego[permutation], margin)
    similarity = (d_ego * d_exo).sum(1)
    positions = torch.arange(len(z_ego), device=z_ego.device)
    return alignment_share(
        z_ego, z_exo, z_ego, z_exo, similarity, positions, temperature, threshold, sigma, kind
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
) -> Tensor:
    """This process's share of L_a over the pairs of all processes: its anchors, over |P|.

    The sum of the shares is L_a of the joined batch. Processes may hold any number of pairs.

    z_ego, z_exo: (n, D), rows `positions` (n,) of z_ego_all, z_exo_all (M, D).
    similarity_all: (M,) of the narrations of each pair. kind: dcl or dcl_weighted.

    Raises: ValueError for another kind, or for dcl_weighted without sigma.
    """
    kept_all = similarity_all > threshold
    weight = None
    if kind == "dcl_weighted":
        if sigma is None:
            raise ValueError("kind dcl_weighted needs sigma")
        weight = pair_weights(similarity_all, kept_all, sigma)[positions]
    elif kind != "dcl":
        raise ValueError(f"kind {kind!r} is none of dcl, dcl_weighted, triplet, none")
    ego_rows = dcl_rows(
        z_ego, z_exo, z_ego_all, z_exo_all, positions, temperature, weight, kept_all
    )
    exo_rows = dcl_rows(
        z_exo, z_ego, z_exo_all, z_ego_all, positions, temperature, weight, kept_all
    )
    rows = ego_rows + exo_rows
    kept_rows = torch.where(kept_all[positions], rows, 0 * rows)
    return kept_rows.sum() / kept_all.sum().clamp(min=1)


def pair_weights(similarity: Tensor, kept: Tensor, sigma: float) -> Tensor:
    """w = |P| softmax(s / sigma) over the kept pairs, whose mean is 1; 0 for the others.

    similarity: (M,). kept: (M,) bool.
    """
    # The lowest finite number in place of -inf: no NaN where no pair is kept.
    lowest = torch.finfo(similarity.dtype).min
    return kept.sum() * (similarity / sigma).masked_fill(~kept, lowest).softmax(0)
