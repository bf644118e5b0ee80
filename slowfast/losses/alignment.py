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
    triplet: margin loss over all pairs, anchor z_ego, positive z_exo, negative the rows
        `permutation` (N,) of z_ego. none: zero.
    Fewer than two kept pairs give a zero that keeps the graph.

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
    """mean_i max(0, |a_i - p_i| - |a_i - n_i| + margin); inputs (N, D)."""
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
    """This process's share of L_a over the pairs of all processes; the shares sum up to L_a.

    z_ego, z_exo: (n, D), rows `positions` (n,) of z_ego_all, z_exo_all (M, D).
    similarity_all: (M,) of the narrations of each pair.
    """
    if kind not in ("dcl", "dcl_weighted"):
        raise ValueError(f"kind {kind!r} is none of dcl, dcl_weighted")
    kept_all = similarity_all > threshold
    weight = None
    if kind == "dcl_weighted":
        if sigma is None:
            raise ValueError("kind dcl_weighted needs sigma")
        logits = (similarity_all / sigma).masked_fill(~kept_all, float("-inf"))
        weight = (kept_all.sum() * logits.softmax(0)).nan_to_num()[positions]
    rows = dcl_rows(
        z_ego, z_exo, z_ego_all, z_exo_all, positions, temperature, weight, kept_all
    ) + dcl_rows(z_exo, z_ego, z_exo_all, z_ego_all, positions, temperature, weight, kept_all)
    return torch.where(kept_all[positions], rows, 0 * rows).sum() / kept_all.sum().clamp(min=1)
