"""Pseudo-pairs against what the published search and loader gave."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slowfast.datasets.pairing.pairs import Tier
from slowfast.datasets.sources.lemma_annotations import clean_narration
from slowfast.semantics.label_tiers import ExoLabels, distinct_actions, tier_candidates, tier_pairs

NAMES = {"same": Tier.SAME, "sub": Tier.SUBSET, "sub_verb": Tier.VERB, "sub_noun": Tier.NOUN}
NUM_VERBS, NUM_NOUNS = 97, 300


@pytest.fixture
def inputs(golden: Path) -> Any:
    return json.loads((golden / "pseudo_pairs_inputs.json").read_text())


def labels_of(entries: dict[str, list]) -> ExoLabels:
    """Entries' verb and noun ids; -1 is a label without an ego class."""
    assert list(entries) == [str(number) for number in range(len(entries))]

    def classes(place: int) -> list[list[int | None]]:
        return [[None if i < 0 else i for i in entry[place]] for entry in entries.values()]

    return ExoLabels(classes(2), classes(3), NUM_VERBS, NUM_NOUNS)


def search(rows: list[dict], exo: ExoLabels, k: int) -> list[dict[str, list[int]]]:
    """Per ego row the candidates of every tier, as the published search lists them."""
    verbs = np.array([row["verb_label"] for row in rows])
    nouns = np.array([row["noun_label"] for row in rows])
    *actions, inverse = distinct_actions(verbs, nouns, NUM_NOUNS)
    found = tier_candidates(*actions, exo, k)
    return [
        {name: [int(i) for i in found[tier][row] if i >= 0] for name, tier in NAMES.items()}
        for row in inverse
    ]


def test_search_of_the_stored_example(golden: Path, inputs: Any) -> None:
    stored = json.loads((golden / "pseudo_pairs_example.json").read_text())
    found = search(inputs["epic_rows"], labels_of(inputs["lemma_all_dict"]), 3)
    wanted = [
        {name: [int(next(iter(one))) for one in stored[str(row)][name]] for name in NAMES}
        for row in range(len(found))
    ]
    assert found == wanted
    assert len(found) == len(stored) == 6


def test_search_of_the_random_dictionary(inputs: Any) -> None:
    random = inputs["random_dictionary"]
    found = search(inputs["epic_rows"], labels_of(random["items"]), 3)
    assert [list(row.values()) for row in found] == random["picked_ids"]


def test_drawn_tier(golden: Path, inputs: Any) -> None:
    """Training draws from the first tier that is not empty."""
    stored = json.loads((golden / "pseudo_pairs_example.json").read_text())
    exo = labels_of(inputs["lemma_all_dict"])
    rows = inputs["epic_rows"]
    verbs = np.array([row["verb_label"] for row in rows])
    nouns = np.array([row["noun_label"] for row in rows])
    found = tier_pairs(verbs, nouns, exo, 3)
    tiers = exo.tier_of(verbs, nouns, found)
    for row, candidates in enumerate(found):
        name = next((name for name in NAMES if stored[str(row)][name]), None)
        wanted = [int(next(iter(one))) for one in stored[str(row)][name]] if name else []
        assert [i for i in candidates if i >= 0] == wanted
        assert set(tiers[row][candidates >= 0]) == ({NAMES[name]} if name else set())


def test_narrations(inputs: Any) -> None:
    for hoi, text in inputs["clean_narration"]:
        assert clean_narration(hoi) == text
    assert len(inputs["clean_narration"]) == 9
