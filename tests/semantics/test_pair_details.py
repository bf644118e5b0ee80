"""The details of a pair table, counted by hand."""

from __future__ import annotations

import numpy as np

from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.datasets.types import Segment
from slowfast.semantics.pair_details import pair_details


def segment(name: str, text: str, *labels: int) -> Segment:
    return Segment(name, "v", "P", 1, 9, text, tuple((label,) for label in labels))


EGO = [
    segment("a", "cut onion", 0, 0),
    segment("b", "wash pan", 1, 1),
    segment("c", "cut pan", 0, 1),
]
EXO = [segment("x", "cut onion", 0, 0), segment("y", "rinse cup", 1, 2)]
TABLE = PairTable(
    np.array([[0, 1], [1, -1], [0, -1]], np.int32),
    np.array([[1.0, 0.2], [0.6, 0.0], [0.5, 0.0]], np.float32),
    np.array([[Tier.SAME, Tier.NONE], [Tier.VERB, 0], [Tier.VERB, 0]], np.uint8),
    {"mining": "tiers"},
    "ego",
    "exo",
    2,
)
NAMES = [("cut", "wash"), ("onion", "pan")]


def test_lines_of_a_small_table() -> None:
    lines = pair_details(TABLE, EGO, EXO, NAMES)
    text = "\n".join(lines)
    counts = [int(line.split()[-1]) for line in lines[1:11]]
    assert sum(counts) == 4
    assert (counts[0], counts[-1]) == (1, 1)
    best = lines.index("most similar pairs of narrations:")
    assert lines[best + 1] == "  1.000  cut onion - cut onion (1 pairs)"
    assert "4 distinct pairs of narrations in 4 pairs; in 1 pairs both narrations" in text
    assert "100.0 % of the ego segments have a candidate with their verb; 2 of 2 verbs" in text
    assert "33.3 % of the ego segments have a candidate with their noun; 1 of 2 nouns" in text
    assert "least covered: pan 0 %" in text


def test_without_labels_coverage_is_unknown() -> None:
    assert "unknown, as there are no labels" in pair_details(TABLE, EGO, EXO, None)[-1]
