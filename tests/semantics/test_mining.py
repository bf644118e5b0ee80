"""Pair tables of each kind of mining, and their report."""

import dataclasses

import numpy as np
import pytest

from slowfast.datasets.pairing.pairs import Tier, narration_hash
from slowfast.datasets.types import Segment
from slowfast.semantics.label_tiers import ExoLabels
from slowfast.semantics.mining import mine_pairs, tier_text_pairs
from slowfast.semantics.mining_report import report
from slowfast.semantics.text_search import Narrations, nearest_segments

VERBS, NOUNS, WIDTH = 4, 5, 12


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.Generator(np.random.PCG64(seed)).standard_normal((count, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def narrations(count: int, distinct: int, seed: int) -> Narrations:
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = np.concatenate([np.arange(distinct), rng.integers(0, distinct, count - distinct)])
    return Narrations(unit(distinct, seed), rows)


def ego_segments(verbs: np.ndarray, nouns: np.ndarray, text: Narrations) -> list[Segment]:
    return [
        Segment(f"e{i}", "v", "p", 0, 9, f"ego {row}", ((int(verb),), (int(noun),)))
        for i, (verb, noun, row) in enumerate(zip(verbs, nouns, text.rows, strict=True))
    ]


def exo_segments(text: Narrations) -> list[Segment]:
    return [
        Segment(f"x{i}", "v", "p", 0, 9, f"exo {row}", ((), ())) for i, row in enumerate(text.rows)
    ]


@pytest.fixture
def world() -> dict:
    """60 ego segments of 20 narrations, 40 exo segments of 15, labels at random."""
    rng = np.random.Generator(np.random.PCG64(0))
    ego_text, exo_text = narrations(60, 20, 1), narrations(40, 15, 2)
    verbs, nouns = rng.integers(0, VERBS, 60), rng.integers(0, NOUNS, 60)
    # Ego verb 3 and noun 4 occur in no exo segment: some rows have no tier.
    exo_verbs = [rng.integers(0, 3, rng.integers(1, 3)).tolist() for _ in range(40)]
    exo_nouns = [rng.integers(0, 4, rng.integers(1, 3)).tolist() for _ in range(40)]
    return {
        "ego": ego_segments(verbs, nouns, ego_text),
        "exo": exo_segments(exo_text),
        "ego_text": ego_text,
        "exo_text": exo_text,
        "exo_labels": ExoLabels(exo_verbs, exo_nouns, VERBS, NOUNS),
    }


def similarities(world: dict) -> np.ndarray:
    """(n, m) float64 of all pairs."""
    ego, exo = world["ego_text"], world["exo_text"]
    return ego.vectors[ego.rows].astype(float) @ exo.vectors[exo.rows].astype(float).T


def test_tiers_text_equals_a_double_loop(world: dict) -> None:
    """The best tier's segments with the largest similarities; without a tier, of all."""
    verbs, nouns = (np.array([s.labels[task][0] for s in world["ego"]]) for task in (0, 1))
    labels, exact = world["exo_labels"], similarities(world)
    found = tier_text_pairs(verbs, nouns, labels, world["ego_text"], world["exo_text"], 3)
    without = 0
    for row in range(60):
        allowed = next(
            (
                members
                for tier in (Tier.SAME, Tier.SUBSET, Tier.VERB, Tier.NOUN)
                if len(members := labels.members(verbs[row], nouns[row], tier))
            ),
            np.arange(40),
        )
        without += len(allowed) == 40
        wanted = -np.sort(-exact[row, allowed])[:3]
        chosen = found[row][found[row] >= 0]
        assert set(chosen) <= set(allowed)
        assert len(set(chosen)) == len(chosen) == min(3, len(allowed))
        np.testing.assert_array_equal(exact[row, chosen], wanted)
    assert 0 < without < 30


def test_factors_equal_a_double_loop(world: dict) -> None:
    """The nearest of those with the verb, then of those with the noun; none where there is none."""
    table = mine_pairs(**world, settings={"mining": "factors", "top_k": 3})
    labels, exact = world["exo_labels"], similarities(world)
    without = [0, 0]
    for task, (half, has) in enumerate(
        zip(table.by_factor, (labels.has_verb, labels.has_noun), strict=True)
    ):
        for row, segment in enumerate(world["ego"]):
            allowed = np.flatnonzero(has[segment.labels[task][0]])
            wanted = -np.sort(-exact[row, allowed])[:3]
            chosen = half.indices[row][half.indices[row] >= 0]
            without[task] += len(allowed) == 0
            assert half.has_candidate(row) == (len(allowed) > 0)
            assert set(chosen) <= set(allowed)
            np.testing.assert_array_equal(exact[row, chosen], wanted)
            assert half.similarity[row, : len(chosen)] == pytest.approx(wanted, abs=1e-6)
    assert min(without) > 0
    by_verb = mine_pairs(**world, settings={"mining": "verb", "top_k": 3})
    np.testing.assert_array_equal(by_verb.indices, table.by_factor[0].indices)


@pytest.mark.parametrize("mining", ["text", "tiers", "tiers_text"])
def test_table(world: dict, mining: str) -> None:
    settings = {"mining": mining, "top_k": 3, "encoder": "fake"}
    table = mine_pairs(**world, settings=settings)
    assert table.indices.shape == (60, 3)
    assert table.settings == settings
    assert (table.ego_hash, table.exo_hash) == (
        narration_hash(world["ego"]),
        narration_hash(world["exo"]),
    )
    exact = similarities(world)
    for row, candidates in enumerate(table.indices):
        for place, index in enumerate(candidates):
            wanted = exact[row, index] if index >= 0 else 0
            assert table.similarity[row, place] == pytest.approx(wanted, abs=1e-6)
    if mining == "text":
        wanted = nearest_segments(world["ego_text"], world["exo_text"], 3)
        np.testing.assert_array_equal(table.indices, wanted)
    # The same again: mining draws nothing.
    again = mine_pairs(**world, settings=settings)
    np.testing.assert_array_equal(again.indices, table.indices)


def test_text_needs_no_labels_but_tiers_do(world: dict) -> None:
    bare = {**world, "exo_labels": None}
    table = mine_pairs(**bare, settings={"mining": "text", "top_k": 2})
    assert not table.tier.any()
    with pytest.raises(ValueError, match="tiers"):
        mine_pairs(**bare, settings={"mining": "tiers", "top_k": 2})


def test_report_against_a_count_by_hand(world: dict) -> None:
    table = mine_pairs(**world, settings={"mining": "tiers", "top_k": 3})
    found = report(table, world["ego_text"], world["exo_text"], 0.2, labelled=True)
    labels = world["exo_labels"]
    pairs = [
        (row, index, float(value))
        for row, (indices, values) in enumerate(zip(table.indices, table.similarity, strict=True))
        for index, value in zip(indices, values, strict=True)
        if index >= 0
    ]
    action = [(s.labels[0][0], s.labels[1][0]) for s in world["ego"]]
    same_verb = [bool(labels.has_verb[action[row][0], index]) for row, index, _ in pairs]
    same_noun = [bool(labels.has_noun[action[row][1], index]) for row, index, _ in pairs]
    kept = [value > 0.2 for _, _, value in pairs]
    assert found.pairs == len(pairs)
    assert found.rows_without_pair == 60 - len({row for row, _, _ in pairs}) > 0
    assert found.exo_used == len({index for _, index, _ in pairs})
    assert found.passing == pytest.approx(np.mean(kept))
    assert found.mean_similarity == pytest.approx(np.mean([value for _, _, value in pairs]))
    assert found.verb_agreement == pytest.approx(np.mean(same_verb))
    assert found.noun_agreement == pytest.approx(np.mean(same_noun))
    assert found.passing_verb_agreement == pytest.approx(np.mean(np.array(same_verb)[kept]))
    assert found.passing_noun_agreement == pytest.approx(np.mean(np.array(same_noun)[kept]))
    assert found.tier_pairs is not None
    assert sum(found.tier_pairs.values()) == len(pairs)
    assert found.tier_pairs["none"] == 0
    assert f"same verb: {100 * np.mean(same_verb):.1f} %" in "\n".join(found.lines())


def test_report_warns_where_few_pairs_pass(world: dict, caplog: pytest.LogCaptureFixture) -> None:
    table = mine_pairs(**world, settings={"mining": "text", "top_k": 3})
    texts = world["ego_text"], world["exo_text"]
    report(table, *texts, -1.0, labelled=True)
    assert "are above" not in caplog.text
    found = report(table, *texts, 0.99, labelled=False)
    assert "only 0.0 % of the pairs are above SUML.ALIGN.THRESHOLD 0.99" in caplog.text
    assert (found.verb_agreement, found.tier_pairs) == (None, None)
    assert "are not compared" in found.lines()[-1]


def test_report_of_a_table_without_pairs(world: dict) -> None:
    labels = ExoLabels([[None]] * 40, [[None]] * 40, VERBS, NOUNS)
    table = mine_pairs(**{**world, "exo_labels": labels}, settings={"mining": "tiers", "top_k": 3})
    found = report(table, world["ego_text"], world["exo_text"], 0.5, labelled=True)
    assert (found.pairs, found.rows_without_pair, found.passing) == (0, 60, 0.0)
    assert all(np.isfinite(v) for v in dataclasses.astuple(found) if isinstance(v, float))
