"""View alignment L_a of SUM-L (arXiv 2308.11489): ego and exo embeddings of similar narrations.

Each kind of the loss is one function and one entry in KINDS. The same function computes the public
`view_alignment` and the training term, which passes the rows of all processes.

Legend: N pairs, n pairs of this process, M pairs of all processes, P kept pairs, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast.losses.dcl import ALL_OTHER_ROWS, Anchors, Negatives, dcl_rows, without_negatives


class AlignmentSettings(NamedTuple):
    """Constants of L_a.

    threshold: only pairs with a larger similarity are kept. sigma: temperature of the pair
        weights, or of the soft targets; None if the kind has none. margin: triplet margin.
    """

    temperature: float
    threshold: float
    sigma: float | None = None
    margin: float = 0.1


@dataclass(frozen=True)
class Pairs:
    """Pairs of this process among the pairs of all processes.

    anchors: u ego, v exo embeddings. similarity_all: (M,) similarity of each pair's narrations.
    The other fields are read only by the kinds that list them in their inputs:
    negatives: pairs that are negatives of each other; `candidates` is set by the threshold.
    relevance: (n, M) of ego clip i to exo clip j, and (n, M) of exo clip i to ego clip j.
    permutation: (n,) int64, the ego row that is the negative of each pair.
    """

    anchors: Anchors
    similarity_all: Tensor
    negatives: Negatives = ALL_OTHER_ROWS
    relevance: tuple[Tensor, Tensor] | None = None
    permutation: Tensor | None = None


class AlignmentLoss(NamedTuple):
    """L_a of one process.

    share: this process's part of L_a; the sum over processes is L_a of the joined batch.
    empty: () float, share of the kept pairs without negatives, 1 if too few pairs are kept;
        None for a kind that always has negatives.
    """

    share: Tensor
    empty: Tensor | None = None


class Kind(NamedTuple):
    """One kind of L_a.

    loss: the function. inputs: the optional fields of `Pairs` that it reads.
    gathers: uses the pairs of all processes; otherwise each process is a separate batch.
    """

    loss: Callable[[Pairs, AlignmentSettings], AlignmentLoss]
    inputs: frozenset[str] = frozenset()
    gathers: bool = True


class AlignmentOptions(TypedDict, total=False):
    """Inputs that only some kinds need, as the fields of `Pairs` and `AlignmentSettings`."""

    permutation: Tensor
    margin: float
    negatives: Negatives


def view_alignment(
    z_ego: Tensor,
    z_exo: Tensor,
    d_ego: Tensor,
    d_exo: Tensor,
    temperature: float,
    threshold: float,
    sigma: float | None = None,
    kind: str = "dcl",
    **options: Unpack[AlignmentOptions],
) -> Tensor:
    """Compute L_a in one process; inputs are (N, D) with rows of norm 1, row i is pair i.

    dcl: DCL(z_ego -> z_exo) + DCL(z_exo -> z_ego) over the pairs with d_ego.d_exo > threshold.
    dcl_weighted: the same, the positive of pair i weighted by |P| softmax(s / sigma)_i.
    triplet: all pairs; anchor z_ego, positive z_exo, negative the rows `permutation` (N,) of
        z_ego, which may have fixed points (as released); with `margin`.
    soft: all pairs, as `_soft` with the relevance d_ego_i.d_exo_j.
    none: zero. A DCL over fewer than two kept pairs is zero too; both zeros keep the graph.
    negatives: negatives of the two kinds of DCL.

    Raises: ValueError for an unknown kind, or a missing input.
    """
    entry = alignment_kind(kind)
    relevance = d_ego @ d_exo.T if "relevance" in entry.inputs else None
    pairs = Pairs(
        Anchors.local(z_ego, z_exo),
        (d_ego * d_exo).sum(1),
        options.get("negatives", ALL_OTHER_ROWS),
        None if relevance is None else (relevance, relevance.T),
        options.get("permutation"),
    )
    settings = AlignmentSettings(temperature, threshold, sigma, options.get("margin", 0.1))
    return entry.loss(pairs, settings).share


def alignment_kind(name: str) -> Kind:
    """The entry of KINDS. Raises: ValueError for an unknown name."""
    if name not in KINDS:
        raise ValueError(f"kind {name!r} is not one of {', '.join(KINDS)}")
    return KINDS[name]


def pair_weights(similarity: Tensor, kept: Tensor, sigma: float) -> Tensor:
    """Weights w = |P| softmax(s / sigma) of the kept pairs, with mean 1; 0 for the others.

    similarity: (M,). kept: (M,) bool.
    """
    # The lowest finite number instead of -inf avoids NaN when no pair is kept.
    lowest = torch.finfo(similarity.dtype).min
    return kept.sum() * (similarity / sigma).masked_fill(~kept, lowest).softmax(0)


def triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """mean_i max(0, |a_i - p_i| - |a_i - n_i| + margin), L2 norms; inputs (N, D)."""
    return F.triplet_margin_loss(anchor, positive, negative, margin=margin)


def _dcl(pairs: Pairs, settings: AlignmentSettings) -> AlignmentLoss:
    """DCL in both directions over the kept pairs, divided by |P|."""
    return _contrast(pairs, settings, None)


def _dcl_weighted(pairs: Pairs, settings: AlignmentSettings) -> AlignmentLoss:
    """As `_dcl`, the positives weighted by `pair_weights`."""
    if settings.sigma is None:
        raise ValueError("kind dcl_weighted needs sigma")
    kept_all = pairs.similarity_all > settings.threshold
    weight = pair_weights(pairs.similarity_all, kept_all, settings.sigma)
    return _contrast(pairs, settings, weight[pairs.anchors.positions])


def _contrast(pairs: Pairs, settings: AlignmentSettings, weight: Tensor | None) -> AlignmentLoss:
    """weight: (n,) of the positives."""
    anchors = pairs.anchors
    kept_all = pairs.similarity_all > settings.threshold
    kept = kept_all[anchors.positions]
    negatives = replace(pairs.negatives, candidates=kept_all)
    rows = dcl_rows(anchors, settings.temperature, weight, negatives)
    rows = rows + dcl_rows(anchors.swapped(), settings.temperature, weight, negatives)
    alone = without_negatives(anchors, negatives) & kept
    # A single kept pair still has a loss if there are extra negatives.
    enough = 2 if negatives.extra is None else 1
    empty = torch.where(kept_all.sum() < enough, 1.0, alone.sum() / kept.sum().clamp(min=1))
    share = torch.where(kept, rows, 0 * rows).sum() / kept_all.sum().clamp(min=1)
    return AlignmentLoss(share, empty)


def _triplet(pairs: Pairs, settings: AlignmentSettings) -> AlignmentLoss:
    if pairs.permutation is None:
        raise ValueError("kind triplet needs the permutation of its negatives")
    z_ego, z_exo = pairs.anchors.u, pairs.anchors.v
    return AlignmentLoss(triplet(z_ego, z_exo, z_ego[pairs.permutation], settings.margin))


def _soft(pairs: Pairs, settings: AlignmentSettings) -> AlignmentLoss:
    """L_a with soft targets (arXiv 2303.17561, 2506.14356).

    1/M sum_i sum_j [ -q_ij log p_ij - q'_ij log p'_ij ], over all pairs, kept or not, with
    q_ij = softmax_j(s_ij / sigma), p_ij = softmax_j(z_ego_i . z_exo_j / tau), s the relevance, and
    q', p' the same with the views exchanged.
    """
    if settings.sigma is None:
        raise ValueError("kind soft needs sigma")
    if pairs.relevance is None:
        raise ValueError("kind soft needs the relevance of its pairs")
    anchors, count = pairs.anchors, len(pairs.anchors.u_all)
    rows = torch.zeros_like(anchors.u[:, 0])
    for to, relevance in zip((anchors, anchors.swapped()), pairs.relevance, strict=True):
        target = (relevance.to(to.u.dtype) / settings.sigma).softmax(1)
        rows = rows - (target * (to.u @ to.v_all.T / settings.temperature).log_softmax(1)).sum(1)
    empty = pairs.similarity_all.new_full((), float(count < 2))
    return AlignmentLoss(rows.sum() / max(count, 1), empty)


def _none(pairs: Pairs, settings: AlignmentSettings) -> AlignmentLoss:
    """A zero loss that stays attached to the autograd graph."""
    return AlignmentLoss(0 * (pairs.anchors.u.sum() + pairs.anchors.v.sum()))


KINDS = {
    "dcl": Kind(_dcl, frozenset({"negatives"})),
    "dcl_weighted": Kind(_dcl_weighted, frozenset({"negatives"})),
    "triplet": Kind(_triplet, frozenset({"permutation"}), gathers=False),
    "soft": Kind(_soft, frozenset({"relevance"})),
    "none": Kind(_none, gathers=False),
}
