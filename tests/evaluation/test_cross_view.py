"""Retrieval across views, and similarity of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from slowfast.evaluation import retrieval
from slowfast.evaluation.cross_view import cross_view_recall, label_agreement, pair_similarity

RNG = np.random.default_rng(41)


def _unit(count: int) -> np.ndarray:
    rows = RNG.standard_normal((count, 6))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _classes(count: int) -> list[np.ndarray]:
    return [RNG.random((count, 4)) < 0.3, RNG.random((count, 5)) < 0.3]


def test_items_agree_that_share_a_class_in_every_head() -> None:
    queries, gallery = _classes(9), _classes(14)
    expected = [
        [all((q[i] & g[j]).any() for q, g in zip(queries, gallery, strict=True)) for j in range(14)]
        for i in range(9)
    ]
    np.testing.assert_array_equal(label_agreement(queries, gallery), expected)


@pytest.mark.parametrize("chunk", [4, 256])
def test_recall_equals_a_naive_loop(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("slowfast.evaluation.retrieval.CHUNK_QUERIES", chunk)
    queries, gallery = _unit(30), _unit(25)
    query_classes, gallery_classes = _classes(30), _classes(25)
    agrees = label_agreement(query_classes, gallery_classes)
    values = cross_view_recall(queries, gallery, query_classes, gallery_classes)
    answerable = [i for i in range(30) if agrees[i].any()]
    assert values["num_queries"] == len(answerable) < 30
    for k in (1, 5, 10):
        found = [agrees[i, np.argsort(-(gallery @ queries[i]))[:k]].any() for i in answerable]
        assert values[f"recall_at_{k}"] == pytest.approx(100 * np.mean(found))


def test_chance_is_what_random_features_score() -> None:
    query_classes, gallery_classes = _classes(40), _classes(60)
    values = [
        cross_view_recall(_unit(40), _unit(60), query_classes, gallery_classes) for _ in range(150)
    ]
    for k in (1, 5, 10):
        mean = np.mean([v[f"recall_at_{k}"] for v in values])
        # 150 draws of some 35 queries with a shared gallery: a standard error below half a point.
        assert mean == pytest.approx(values[0][f"chance_recall_at_{k}"], abs=2)


def test_aligned_views_are_found_and_are_more_similar() -> None:
    classes = [np.eye(20, dtype=bool), np.ones((20, 1), dtype=bool)]
    ego = _unit(20)
    exo = ego + 0.1 * _unit(20)
    exo /= np.linalg.norm(exo, axis=1, keepdims=True)
    assert cross_view_recall(ego, exo, classes, classes)["recall_at_1"] == 100.0
    pairs = np.stack([np.arange(20)] * 2, axis=1)
    similarity = pair_similarity(ego, exo, pairs)
    assert similarity["positive"] == pytest.approx((ego * exo).sum(axis=1).mean())
    assert similarity["positive"] > similarity["random"] + 0.5
    assert similarity == pair_similarity(ego, exo, pairs)


def test_random_pairs_are_never_positive_ones() -> None:
    ego, exo = np.eye(2), np.eye(2)
    assert pair_similarity(ego, exo, np.array([[0, 0], [1, 1]]))["random"] == 0.0
    everything = np.array([[i, j] for i in range(2) for j in range(2)])
    with pytest.raises(ValueError, match="nothing to compare"):
        pair_similarity(ego, exo, everything)


def test_chunks_cover_every_query_once() -> None:
    assert list(retrieval.chunks(600)) == [(0, 256), (256, 512), (512, 600)]
