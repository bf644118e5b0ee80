"""Label tiers against the rule written out as a double loop."""

import numpy as np
import pytest

from slowfast.datasets.pairing.pairs import Tier
from slowfast.semantics import label_tiers
from slowfast.semantics.label_tiers import (
    TIER_ORDER,
    ExoLabels,
    best_tier,
    distinct_actions,
    tier_candidates,
    tier_pairs,
)

VERBS, NOUNS = 5, 6


def rule(verb: int, noun: int, exo_verbs: list, exo_nouns: list) -> Tier:
    """The published rule for one pair; None is a label without an ego class."""
    if set(exo_verbs) == {verb} and set(exo_nouns) == {noun}:
        return Tier.SAME
    if verb in exo_verbs and noun in exo_nouns:
        return Tier.SUBSET
    if verb in exo_verbs:
        return Tier.VERB
    return Tier.NOUN if noun in exo_nouns else Tier.NONE


def random_labels(count: int, seed: int) -> tuple[list, list]:
    rng = np.random.Generator(np.random.PCG64(seed))

    def draw(classes: int) -> list:
        labels = [rng.integers(-1, classes, rng.integers(0, 4)).tolist() for _ in range(count)]
        return [[None if label < 0 else label for label in one] for one in labels]

    return draw(VERBS), draw(NOUNS)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("block", [3, 1024])
def test_equals_the_rule(seed: int, k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_tiers, "_BLOCK_SEGMENTS", block)
    exo_verbs, exo_nouns = random_labels(40, seed)
    exo = ExoLabels(exo_verbs, exo_nouns, VERBS, NOUNS)
    grid = np.arange(VERBS * NOUNS)
    verbs, nouns = grid // NOUNS, grid % NOUNS
    found = tier_candidates(verbs, nouns, exo, k)
    pairs = tier_pairs(verbs, nouns, exo, k)
    best = best_tier(found)
    for row, (verb, noun) in enumerate(zip(verbs, nouns, strict=True)):
        tiers = [rule(verb, noun, v, n) for v, n in zip(exo_verbs, exo_nouns, strict=True)]
        members = {t: [i for i, tier in enumerate(tiers) if tier == t] for t in TIER_ORDER}
        for tier in TIER_ORDER:
            assert [i for i in found[tier][row] if i >= 0] == members[tier][:k]
            assert exo.members(verb, noun, tier).tolist() == members[tier]
        first = next((t for t in TIER_ORDER if members[t]), Tier.NONE)
        assert best[row] == first
        assert [i for i in pairs[row] if i >= 0] == members.get(first, [])[:k]
        of_all = exo.tier_of(np.full(1, verb), np.full(1, noun), np.arange(40)[None])
        assert of_all.tolist() == [[int(tier) for tier in tiers]]


def test_rows_of_one_action_share_their_candidates() -> None:
    exo = ExoLabels([[1], [1, 2], [3]], [[4], [4], [0]], VERBS, NOUNS)
    verbs, nouns = np.array([1, 3, 1, 0]), np.array([4, 0, 4, 1])
    assert tier_pairs(verbs, nouns, exo, 2).tolist() == [[0, -1], [2, -1], [0, -1], [-1, -1]]
    actions = distinct_actions(verbs, nouns, NOUNS)
    assert [list(part) for part in actions] == [[0, 1, 3], [1, 4, 0], [1, 2, 1, 0]]


def test_a_label_without_class_is_no_class() -> None:
    """It matches no class, not even the last one, and the pair is not in the tier `same`."""
    exo = ExoLabels([[None], [0, None]], [[None], [0]], VERBS, NOUNS)
    assert not exo.has_verb[:, 0].any()
    assert not exo.has_noun[:, 0].any()
    assert exo.has_verb.sum() == exo.has_noun.sum() == 1
    assert tier_pairs(np.array([VERBS - 1]), np.array([NOUNS - 1]), exo, 1).tolist() == [[-1]]
    assert exo.tier_of(np.array([0]), np.array([0]), np.array([[1]])).tolist() == [[Tier.SUBSET]]


def test_no_tier_where_there_is_no_pair() -> None:
    exo = ExoLabels([[1]], [[1]], VERBS, NOUNS)
    tiers = exo.tier_of(np.array([1]), np.array([1]), np.array([[0, -1]]))
    assert tiers.tolist() == [[Tier.SAME, Tier.NONE]]
