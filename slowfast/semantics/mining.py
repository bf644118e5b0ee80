"""Mining of pseudo-pairs: exo segments for every ego segment, and a report of their quality.

Legend: n ego and m exo segments, k candidates, D embedding width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from slowfast.datasets.pairing.pairs import PairTable, Tier, narration_hash
from slowfast.datasets.types import Segment
from slowfast.semantics.label_tiers import (
    TIER_ORDER,
    ExoLabels,
    best_tier,
    distinct_actions,
    tier_candidates,
    tier_pairs,
)
from slowfast.semantics.text_search import Narrations, Search, nearest_segments

logger = logging.getLogger(__name__)

MINING = ("text", "tiers", "tiers_text", "factors", "verb")
# Below this share of pairs above the threshold, the alignment loss has almost no effect.
_FEW_PASSING = 0.2
_BLOCK_PAIRS = 1 << 15


@dataclass(frozen=True)
class MiningReport:
    """Statistics of a pair table. Shares are of all pairs, 0..1; None if labels were not mapped.

    ego_narrations, exo_narrations: numbers of distinct narrations.
    exo_used: exo segments that occur in a pair.
    rows_without_pair: ego segments that are joined with any exo segment.
    passing: share of pairs whose similarity is above `threshold`.
    verb_agreement, noun_agreement: share whose ego verb (noun) is one of the exo segment's.
    tier_pairs: pairs per tier.
    """

    settings: Mapping[str, str | int]
    ego_segments: int
    exo_segments: int
    ego_narrations: int
    exo_narrations: int
    exo_used: int
    pairs: int
    rows_without_pair: int
    threshold: float
    passing: float
    mean_similarity: float
    verb_agreement: float | None
    noun_agreement: float | None
    passing_verb_agreement: float | None
    passing_noun_agreement: float | None
    tier_pairs: Mapping[str, int] | None

    def lines(self) -> list[str]:
        """The report as text."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items() if value)
        lines = [
            f"pairs: {settings}",
            f"{self.ego_segments} ego segments ({self.ego_narrations} narrations), "
            f"{self.exo_segments} exo segments ({self.exo_narrations} narrations)",
            f"{self.pairs} pairs with {self.exo_used} exo segments; {self.rows_without_pair} ego "
            "segments without a candidate (training joins them with any exo segment)",
            f"similarity: mean {self.mean_similarity:.3f}; {_percent(self.passing)} of the pairs "
            f"above SUML.ALIGN.THRESHOLD {self.threshold:g}",
        ]
        if self.tier_pairs is None:
            return [*lines, "label agreement: unknown, as labels of the two views are not compared"]
        tiers = ", ".join(f"{name} {count}" for name, count in self.tier_pairs.items())
        return [
            *lines,
            f"same verb: {_percent(self.verb_agreement)} of the pairs, "
            f"{_percent(self.passing_verb_agreement)} of those above the threshold",
            f"same noun: {_percent(self.noun_agreement)} of the pairs, "
            f"{_percent(self.passing_noun_agreement)} of those above the threshold",
            f"pairs by label overlap: {tiers}",
        ]


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


def report(
    table: PairTable, ego_text: Narrations, exo_text: Narrations, threshold: float, labelled: bool
) -> MiningReport:
    """Summarize the table; logs a warning if few pairs pass the threshold.

    labelled: the table's tiers come from labels.
    """
    used = table.indices >= 0
    pairs = max(int(used.sum()), 1)
    passing = used & (table.similarity > threshold)
    verb = used & np.isin(table.tier, (Tier.SAME, Tier.SUBSET, Tier.VERB))
    noun = used & np.isin(table.tier, (Tier.SAME, Tier.SUBSET, Tier.NOUN))
    passed = max(int(passing.sum()), 1)
    result = MiningReport(
        settings=table.settings,
        ego_segments=table.ego_count,
        exo_segments=table.exo_count,
        ego_narrations=len(ego_text.vectors),
        exo_narrations=len(exo_text.vectors),
        exo_used=len(np.unique(table.indices[used])),
        pairs=int(used.sum()),
        rows_without_pair=int((~used.any(axis=1)).sum()),
        threshold=threshold,
        passing=float(passing.sum() / pairs),
        mean_similarity=float(table.similarity[used].sum(dtype=np.float64) / pairs),
        verb_agreement=float(verb.sum() / pairs) if labelled else None,
        noun_agreement=float(noun.sum() / pairs) if labelled else None,
        passing_verb_agreement=float((verb & passing).sum() / passed) if labelled else None,
        passing_noun_agreement=float((noun & passing).sum() / passed) if labelled else None,
        tier_pairs=_tier_counts(table.tier[used]) if labelled else None,
    )
    if result.passing < _FEW_PASSING:
        logger.warning(
            "only %s of the pairs are above SUML.ALIGN.THRESHOLD %g, so most are not aligned. The "
            "right threshold depends on the encoder; lower it or use another encoder",
            _percent(result.passing),
            threshold,
        )
    return result


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


def _tier_counts(tiers: np.ndarray) -> dict[str, int]:
    order: Iterable[Tier] = (*TIER_ORDER, Tier.NONE)
    return {tier.name.lower(): int((tiers == tier).sum()) for tier in order}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
