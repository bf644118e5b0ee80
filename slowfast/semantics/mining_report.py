"""Report on a pair table: number of pairs, their similarity, agreement of their labels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.semantics.label_tiers import TIER_ORDER
from slowfast.semantics.text_search import Narrations

logger = logging.getLogger(__name__)

# Below this share of pairs above the threshold, the alignment loss has almost no effect.
_FEW_PASSING = 0.2


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


def _tier_counts(tiers: np.ndarray) -> dict[str, int]:
    order: Iterable[Tier] = (*TIER_ORDER, Tier.NONE)
    return {tier.name.lower(): int((tiers == tier).sum()) for tier in order}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
