"""The approximate search: exact if it searches all lists, with measured recall otherwise."""

import sys

import numpy as np
import pytest

from slowfast.semantics import ivf_search
from slowfast.semantics.ivf_search import IvfSearch, recall, sampled_recall
from slowfast.semantics.text_search import Narrations, nearest_segments, nearest_vectors
from slowfast.utils.errors import UserError


def clustered(count: int, seed: int) -> np.ndarray:
    """Unit vectors (count, 16) around 20 directions that are the same for every seed."""
    rng = np.random.Generator(np.random.PCG64(seed))
    centres = np.random.Generator(np.random.PCG64(0)).standard_normal((20, 16))
    rows = centres[rng.integers(0, 20, count)] + 1.2 * rng.standard_normal((count, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


QUERIES, KEYS = clustered(300, 1), clustered(900, 2)


@pytest.fixture
def faiss() -> None:
    pytest.importorskip("faiss", reason="needs faiss (extra: ivf)")


def test_looking_into_every_list_is_exact(faiss: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ivf_search, "_SEARCH_ROWS", 128)
    found = IvfSearch(lists=10, probes=10)(QUERIES, KEYS, 5)
    np.testing.assert_array_equal(found, nearest_vectors(QUERIES, KEYS, 5))


def test_more_probes_find_more(faiss: None) -> None:
    exact = nearest_vectors(QUERIES, KEYS, 5)
    shares = [
        recall(QUERIES, KEYS, IvfSearch(20, probes)(QUERIES, KEYS, 5), exact)
        for probes in (1, 4, 20)
    ]
    assert 0.4 < shares[0] < shares[1] < shares[2] == 1


def test_a_query_whose_lists_hold_too_few_is_searched_exactly(faiss: None) -> None:
    found = IvfSearch(20, 1)(QUERIES, KEYS, 200)
    assert found.shape == (300, 200)
    assert all(len(set(row)) == 200 and row.min() >= 0 for row in found)
    np.testing.assert_array_equal(found, IvfSearch(20, 1)(QUERIES, KEYS, 200))
    np.testing.assert_array_equal(found, nearest_vectors(QUERIES, KEYS, 200))


def test_few_keys(faiss: None) -> None:
    np.testing.assert_array_equal(
        IvfSearch()(QUERIES, KEYS[:30], 50), nearest_vectors(QUERIES, KEYS[:30], 50)
    )
    assert IvfSearch()(QUERIES[:0], KEYS, 3).shape == (0, 3)


def test_number_of_lists() -> None:
    assert [IvfSearch().list_count(n) for n in (1, 80, 10_000, 1_000_000)] == [1, 2, 256, 4000]
    assert IvfSearch(lists=7).list_count(10_000) == 7


def test_segments_by_an_index(faiss: None) -> None:
    rng = np.random.Generator(np.random.PCG64(5))
    exo = Narrations(KEYS, np.concatenate([np.arange(900), rng.integers(0, 900, 300)]))
    ego = Narrations(QUERIES, np.concatenate([np.arange(300), rng.integers(0, 300, 90)]))
    found = nearest_segments(ego, exo, 3, search=IvfSearch(10, 10))
    np.testing.assert_array_equal(found, nearest_segments(ego, exo, 3))


def test_recall_against_a_count_by_hand() -> None:
    keys = np.eye(4, dtype=np.float32)
    keys[3] = keys[0]  # as near as key 0 to every query
    exact, found = np.array([[0, 1], [1, 0]]), np.array([[3, 2], [1, 2]])
    queries = np.array([[0.9, 0.4, 0.1, 0], [0.5, 0.8, 0.1, 0]], np.float32)
    assert recall(queries, keys, found, exact) == 0.5
    assert sampled_recall(queries, keys, nearest_vectors(queries, keys, 2)) == (1.0, 2)


def test_faiss_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    message = r"SUML\.PAIRS\.INDEX ivf needs faiss; pip install 'suml-slowfast\[ivf\]'"
    with pytest.raises(UserError, match=message):
        IvfSearch()(QUERIES, KEYS, 3)
