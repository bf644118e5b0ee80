"""Details of a pair table in words: histogram, best and worst pairs, coverage of the classes.

Legend: n ego segments, k candidates of each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.datasets.types import Segment

_SHOWN = 10
_BINS = 10
_BAR = 40
# Tiers in which the pair has the label of a head.
_AGREE = {
    "verb": (Tier.SAME, Tier.SUBSET, Tier.VERB),
    "noun": (Tier.SAME, Tier.SUBSET, Tier.NOUN),
}


def pair_details(
    table: PairTable,
    ego: Sequence[Segment],
    exo: Sequence[Segment],
    class_names: Sequence[Sequence[str]] | None,
) -> list[str]:
    """Lines about the pairs.

    class_names: names of the ego verbs and nouns by id; None: labels are not compared, and
    coverage is not reported.
    """
    rows, columns = np.nonzero(table.indices >= 0)
    if not len(rows):
        return ["no pairs"]
    lines = [*_histogram(table.similarity[rows, columns]), *_examples(table, ego, exo)]
    if class_names is None:
        return [*lines, "coverage of the classes: unknown, as there are no labels to compare"]
    for head, names in enumerate(class_names):
        lines += _coverage(table, ego, head, names)
    return lines


def _histogram(similarity: np.ndarray) -> list[str]:
    counts, edges = np.histogram(similarity, bins=_BINS)
    most = max(int(counts.max()), 1)
    bars = [
        f"  {low:5.2f} to {high:5.2f}  {'#' * round(_BAR * count / most):<{_BAR}} {count}"
        for low, high, count in zip(edges, edges[1:], counts.tolist(), strict=False)
    ]
    return ["similarity of the narrations:", *bars]


def _examples(table: PairTable, ego: Sequence[Segment], exo: Sequence[Segment]) -> list[str]:
    """The best and the worst pairs of narrations, each once, and how often narrations repeat."""
    rows, columns = np.nonzero(table.indices >= 0)
    texts: Counter[tuple[str, str]] = Counter()
    similarity: dict[tuple[str, str], float] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        pair = (ego[row].narration, exo[table.indices[row, column]].narration)
        texts[pair] += 1
        similarity[pair] = float(table.similarity[row, column])
    ordered = sorted(similarity, key=lambda pair: -similarity[pair])

    def shown(pairs: Sequence[tuple[str, str]]) -> list[str]:
        return [f"  {similarity[p]:.3f}  {p[0]} - {p[1]} ({texts[p]} pairs)" for p in pairs]

    equal = sum(count for (one, other), count in texts.items() if one == other)
    return [
        "most similar pairs of narrations:",
        *shown(ordered[:_SHOWN]),
        "least similar pairs of narrations:",
        *shown(ordered[-_SHOWN:]),
        f"{len(texts)} distinct pairs of narrations in {len(rows)} pairs; in {equal} pairs both "
        "narrations are the same",
    ]


def _coverage(
    table: PairTable, ego: Sequence[Segment], head: int, names: Sequence[str]
) -> list[str]:
    """Segments that have a candidate with their label, and the classes that have the fewest."""
    kind = ("verb", "noun")[head]
    agree: NDArray[np.bool_] = np.asarray(
        (np.isin(table.tier, _AGREE[kind]) & (table.indices >= 0)).any(axis=1)
    )
    labels = np.array([s.labels[head][0] if s.labels[head] else -1 for s in ego])
    share = {k: float(agree[labels == k].mean()) for k in np.unique(labels).tolist() if k >= 0}
    worst = sorted(share, key=lambda k: (share[k], k))[:_SHOWN]
    shown = ", ".join(f"{names[k]} {100 * share[k]:.0f} %" for k in worst if share[k] < 1)
    full = sum(value == 1 for value in share.values())
    lines = [
        f"{100 * float(agree[labels >= 0].mean()):.1f} % of the ego segments have a candidate with "
        f"their {kind}; {full} of {len(share)} {kind}s always have one"
    ]
    return lines + ([f"  least covered: {shown}"] if shown else [])
