"""Mining of pseudo-pairs: exo segments for every ego segment.

Legend: n ego and m exo segments, k candidates, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from slowfast.datasets.pairing.pairs import PairTable, Tier, narration_hash
from slowfast.datasets.types import Segment
from slowfast.semantics.label_tiers import (
    ExoLabels,
    best_tier,
    distinct_actions,
    tier_candidates,
    tier_pairs,
)
from slowfast.semantics.text_search import Narrations, Search, nearest_segments

MINING = ("text", "tiers", "tiers_text", "factors", "verb")
_BLOCK_PAIRS = 1 << 15


def mine_pairs(
    ego: Sequence[Segment],
    exo: Sequence[Segment],
    ego_text: Narrations,
    exo_text: Narrations,
    *,
    settings: Mapping[str, str | int],
    exo_labels: ExoLabels | None = None,
    device: torch.device | None = None,
    search: Search | None = None,
) -> PairTable:
    """The pair table of two lists of segments.

    text: the k exo segments with the most similar narrations.
    tiers: the first k exo segments of the best label tier (the published rule).
    tiers_text: the k exo segments with the most similar narrations in the best label tier; among
        all exo segments if no label agrees.
    factors: the k exo segments with the most similar narrations among those with the ego segment's
        verb, and another k among those with its noun.
    verb: the first half of factors. A segment whose verb no exo segment has gets no candidate.

    ego_text, exo_text: the embeddings of their narrations.
    settings: `mining` (one of MINING), `top_k`, and other values to store in the table.
    exo_labels: the exo labels as ego classes; the tiers need them.
    device: device for comparing narrations; None: a GPU if available.
    search: search over all exo narrations; None: exact search.
    """
    k = int(settings["top_k"])
    mining = settings["mining"]
    if mining == "text":
        indices = nearest_segments(ego_text, exo_text, k, device, search)
    elif mining not in MINING or exo_labels is None:
        raise ValueError(f"mining {mining!r} with labels {exo_labels}")
    elif mining == "tiers":
        indices = tier_pairs(*actions(ego), exo_labels, k)
    elif mining in ("factors", "verb"):
        by_label = zip(actions(ego), (exo_labels.has_verb, exo_labels.has_noun), strict=True)
        halves = [label_pairs(*labels, ego_text, exo_text, k) for labels in by_label]
        indices = halves[0] if mining == "verb" else np.concatenate(halves, axis=1)
    else:
        indices = tier_text_pairs(*actions(ego), exo_labels, ego_text, exo_text, k, device, search)
    return make_table(ego, exo, indices, ego_text, exo_text, settings, exo_labels)


def tier_text_pairs(
    verbs: np.ndarray,
    nouns: np.ndarray,
    exo_labels: ExoLabels,
    ego_text: Narrations,
    exo_text: Narrations,
    k: int,
    device: torch.device | None = None,
    search: Search | None = None,
) -> np.ndarray:
    """Per ego segment the nearest exo segments of its best tier: (n, k) int64, -1 padded.

    A segment without any tier gets the nearest of all exo segments, which `search` finds.
    """
    action_verbs, action_nouns, inverse = distinct_actions(verbs, nouns, len(exo_labels.has_noun))
    tiers = best_tier(tier_candidates(action_verbs, action_nouns, exo_labels, 1))
    indices = np.full((len(verbs), k), -1, np.int64)
    without = np.flatnonzero(tiers[inverse] == Tier.NONE)
    indices[without] = nearest_segments(ego_text.select(without), exo_text, k, device, search)
    rows_by_action = np.split(
        np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1]
    )
    for verb, noun, tier, rows in zip(
        action_verbs, action_nouns, tiers, rows_by_action, strict=True
    ):
        if tier == Tier.NONE:
            continue
        members = exo_labels.members(verb, noun, Tier(tier))
        indices[rows] = _nearest_of(members, ego_text.select(rows), exo_text, k)
    return indices


def label_pairs(
    classes: np.ndarray, has: np.ndarray, ego_text: Narrations, exo_text: Narrations, k: int
) -> np.ndarray:
    """Per ego segment the k nearest exo segments with its class: (n, k) int64, -1 padded.

    classes: (n,) of one head. has: (classes, m) bool, whether an exo segment has the class.
    """
    indices = np.full((len(classes), k), -1, np.int64)
    for label in np.unique(classes):
        rows, members = np.flatnonzero(classes == label), np.flatnonzero(has[label])
        if len(members):
            indices[rows] = _nearest_of(members, ego_text.select(rows), exo_text, k)
    return indices


def _nearest_of(
    members: np.ndarray, ego_text: Narrations, exo_text: Narrations, k: int
) -> np.ndarray:
    """The `members` (exo segments) nearest to each ego segment: (n, k), -1 padded."""
    # On the CPU: for thousands of small searches, the transfer to a GPU costs more than it saves.
    near = nearest_segments(ego_text, exo_text.select(members), k, torch.device("cpu"))
    return np.where(near >= 0, members[near], -1)


def actions(ego: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
    """Verbs and nouns (n,) int64 of labelled ego segments."""
    verbs, nouns = (
        np.array([segment.labels[task][0] for segment in ego], np.int64) for task in (0, 1)
    )
    return verbs, nouns


def make_table(
    ego: Sequence[Segment],
    exo: Sequence[Segment],
    indices: np.ndarray,
    ego_text: Narrations,
    exo_text: Narrations,
    settings: Mapping[str, str | int],
    exo_labels: ExoLabels | None,
) -> PairTable:
    """The table of given candidates (n, k), -1 padded, with their similarities and tiers."""
    tier = np.zeros(indices.shape, np.uint8)
    if exo_labels is not None:
        tier = exo_labels.tier_of(*actions(ego), indices)
    return PairTable(
        indices=indices.astype(np.int32),
        similarity=_similarity(ego_text, exo_text, indices),
        tier=tier,
        settings=settings,
        ego_hash=narration_hash(ego),
        exo_hash=narration_hash(exo),
        exo_count=len(exo),
    )


def _similarity(ego_text: Narrations, exo_text: Narrations, indices: np.ndarray) -> np.ndarray:
    """Cosines (n, k) float32 of the pairs, 0 for padding."""
    similarity = np.zeros(indices.shape, np.float32)
    rows, columns = np.nonzero(indices >= 0)
    for start in range(0, len(rows), _BLOCK_PAIRS):
        row, column = rows[start : start + _BLOCK_PAIRS], columns[start : start + _BLOCK_PAIRS]
        left = ego_text.vectors[ego_text.rows[row]]
        right = exo_text.vectors[exo_text.rows[indices[row, column]]]
        similarity[row, column] = np.einsum("nd,nd->n", left, right)
    return similarity
