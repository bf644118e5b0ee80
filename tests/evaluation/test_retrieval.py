"""Multi-instance retrieval against naive loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slowfast.evaluation import retrieval
from slowfast.evaluation.retrieval import (
    ActionClasses,
    chance_retrieval,
    multi_instance_retrieval,
    relevance,
)

RNG = np.random.default_rng(31)


def _classes(count: int) -> tuple[list[int], list[list[int]], ActionClasses]:
    verbs = RNG.integers(0, 3, count).tolist()
    nouns = [RNG.choice(6, RNG.integers(1, 4), replace=False).tolist() for _ in range(count)]
    return verbs, nouns, ActionClasses.from_lists(verbs, nouns, 6)


CLIP_VERBS, CLIP_NOUNS, CLIPS = _classes(41)
TEXT_VERBS, TEXT_NOUNS, TEXTS = _classes(23)
CLIP_FEATURES, TEXT_FEATURES = RNG.standard_normal((41, 5)), RNG.standard_normal((23, 5))


def _naive_relevance() -> np.ndarray:
    table = np.zeros((41, 23))
    for i in range(41):
        for j in range(23):
            a, b = set(CLIP_NOUNS[i]), set(TEXT_NOUNS[j])
            table[i, j] = ((CLIP_VERBS[i] == TEXT_VERBS[j]) + len(a & b) / len(a | b)) / 2
    return table


def _naive_scores(similarity: np.ndarray, table: np.ndarray) -> dict[str, float]:
    ap, graded, ndcg = [], [], []
    for sims, rels in zip(similarity, table, strict=True):
        ranked = [rels[j] for j in sorted(range(len(sims)), key=lambda j: -sims[j])]
        hits = [place for place, r in enumerate(ranked) if r == 1]
        if hits:
            ap.append(np.mean([(i + 1) / (place + 1) for i, place in enumerate(hits)]))
            graded.append(np.mean([sum(ranked[: p + 1]) / (p + 1) for p in hits]))
        cut = sum(r > 0 for r in ranked)
        gain = [
            sum(r / math.log2(p + 2) for p, r in enumerate(order[:cut]))
            for order in (ranked, sorted(ranked, reverse=True))
        ]
        if cut:
            ndcg.append(gain[0] / gain[1])
    return {
        "mAP": 100 * np.mean(ap),
        "graded_mAP": 100 * np.mean(graded),
        "nDCG": 100 * np.mean(ndcg),
    }


def test_relevance_equals_the_naive_one() -> None:
    table = relevance(CLIPS, TEXTS)
    np.testing.assert_allclose(table, _naive_relevance(), rtol=1e-6)
    assert (table == 1).any()


@pytest.mark.parametrize("chunk", [7, 256])
def test_values_equal_naive_loops_whatever_the_chunk(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(retrieval, "CHUNK_QUERIES", chunk)
    values = multi_instance_retrieval(CLIP_FEATURES, TEXT_FEATURES, CLIPS, TEXTS)
    similarity = CLIP_FEATURES @ TEXT_FEATURES.T
    expected = {}
    for direction, naive in (
        ("vt", _naive_scores(similarity, _naive_relevance())),
        ("tv", _naive_scores(similarity.T, _naive_relevance().T)),
    ):
        expected |= {f"{direction}_{name}": value for name, value in naive.items()}
    for name in ("mAP", "graded_mAP", "nDCG"):
        expected[f"avg_{name}"] = (expected[f"vt_{name}"] + expected[f"tv_{name}"]) / 2
    # Relevances are float32.
    assert values == pytest.approx(expected, rel=1e-5)


def test_a_similarity_that_is_the_relevance_is_perfect() -> None:
    table = relevance(CLIPS, TEXTS)
    scores = retrieval.retrieval_scores(
        lambda a, b: table[a:b], lambda a, b: table[a:b], len(table)
    )
    assert scores.mean_ap == scores.graded_ap == 100.0
    assert scores.ndcg == pytest.approx(100.0)


def test_queries_without_anything_to_find_are_left_out() -> None:
    table = np.array([[1.0, 0.0], [0.0, 0.0], [0.5, 0.0]], dtype=np.float32)
    similarity = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    scores = retrieval.retrieval_scores(lambda a, b: similarity[a:b], lambda a, b: table[a:b], 3)
    assert scores.mean_ap == pytest.approx(50.0)
    # Query 0 finds nothing within its cut of one item, query 2 is perfect.
    assert scores.ndcg == pytest.approx(50.0)


def test_chance_is_the_mean_over_random_features() -> None:
    rng = np.random.default_rng(6)
    sizes = (15, 11)
    clips, sentences = (
        ActionClasses.from_lists(
            rng.integers(0, 2, n).tolist(), rng.integers(0, 2, (n, 1)).tolist(), 2
        )
        for n in sizes
    )
    values = []
    for _ in range(300):
        a, b = (rng.standard_normal((n, 6)) for n in sizes)
        values.append(multi_instance_retrieval(a, b, clips, sentences))
    chance = chance_retrieval(clips, sentences, queries=4000)
    for name in values[0]:
        mean = np.mean([v[name] for v in values])
        # 300 draws of 11 to 15 queries: a standard error of about half a point.
        assert chance[f"chance_{name}"] == pytest.approx(mean, abs=2), name
