"""The text search: exact against brute force, deterministic, fair among equal narrations."""

from collections import Counter

import numpy as np
import pytest
import torch

from slowfast.semantics import text_search
from slowfast.semantics.text_search import Narrations, deal_out, nearest_segments, nearest_vectors


def unit(count: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = rng.standard_normal((count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(queries: np.ndarray, keys: np.ndarray, k: int) -> np.ndarray:
    """By float64 similarity, ties by position."""
    exact = queries.astype(np.float64) @ keys.astype(np.float64).T
    return np.argsort(-exact, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("chunk", [(1, 8192), (10, 1), (10, 7), (256, 8192)])
@pytest.mark.parametrize("few", [0, 1 << 20])
def test_equals_brute_force(
    k: int, chunk: tuple[int, int], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_search, "_FEW_PRODUCTS", few)
    monkeypatch.setattr(text_search, "_CHUNK", chunk)
    queries, keys = unit(37, 24, 1), unit(53, 24, 2)
    np.testing.assert_array_equal(nearest_vectors(queries, keys, k), brute_force(queries, keys, k))


def test_equal_and_nearly_equal_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that float32 products cannot tell apart are ranked by float64, then by position."""
    base = unit(6, 24, 3)
    near = base + np.float32(1e-7) * unit(6, 24, 4)
    keys = np.concatenate([base, near, base[::-1]])
    queries = unit(20, 24, 5)
    exact = np.sort(queries.astype(np.float64) @ keys.astype(np.float64).T, axis=1)[:, ::-1]
    monkeypatch.setattr(text_search, "_FEW_PRODUCTS", 0)
    found = nearest_vectors(queries, keys, 5)
    np.testing.assert_array_equal(found, brute_force(queries, keys, 5))
    values = np.take_along_axis(queries.astype(np.float64) @ keys.astype(np.float64).T, found, 1)
    np.testing.assert_array_equal(values, exact[:, :5])


def test_fewer_keys_than_neighbours() -> None:
    assert nearest_vectors(unit(4, 8, 1), unit(2, 8, 2), 5).shape == (4, 2)
    narrations = Narrations(unit(2, 8, 2), np.array([0, 1, 1]))
    found = nearest_segments(Narrations(unit(1, 8, 1), np.array([0])), narrations, 5)
    assert found.shape == (1, 5)
    assert sorted(found[0]) == [-1, -1, 0, 1, 2]
    assert found[0, 3:].tolist() == [-1, -1]


def random_narrations(count: int, distinct: int, seed: int) -> Narrations:
    rng = np.random.Generator(np.random.PCG64(seed))
    rows = np.concatenate([np.arange(distinct), rng.integers(0, distinct, count - distinct)])
    return Narrations(unit(distinct, 24, seed), rng.permutation(rows))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_segments_have_the_largest_similarities(k: int) -> None:
    """With repeated narrations: the k similarities of every row are the k largest of all."""
    ego, exo = random_narrations(80, 20, 6), random_narrations(60, 25, 7)
    found = nearest_segments(ego, exo, k)
    exact = ego.vectors[ego.rows].astype(np.float64) @ exo.vectors[exo.rows].astype(np.float64).T
    wanted = -np.sort(-exact, axis=1)[:, :k]
    np.testing.assert_array_equal(np.take_along_axis(exact, found, 1), wanted)
    assert all(len(set(row)) == k for row in found.tolist())


def test_segments_of_one_narration_take_turns() -> None:
    exo = Narrations(unit(2, 24, 8), np.array([0, 1, 0, 0, 1, 0]))
    ego = Narrations(exo.vectors[:1], np.zeros(8, np.int64))
    found = nearest_segments(ego, exo, 3)
    # Segments 0, 2, 3, 5 say the same; rows take three each, going round.
    assert found.tolist()[:4] == [[0, 2, 3], [5, 0, 2], [3, 5, 0], [2, 3, 5]]
    uses = Counter(found.ravel().tolist())
    assert uses == {0: 6, 2: 6, 3: 6, 5: 6}


def test_turns_are_shared_by_different_ego_narrations() -> None:
    exo = Narrations(unit(1, 24, 9), np.zeros(4, np.int64))
    ego = Narrations(unit(2, 24, 10), np.array([0, 1, 0, 1]))
    assert nearest_segments(ego, exo, 1).ravel().tolist() == [0, 1, 2, 3]


def test_deal_out_goes_on_with_the_next_narration() -> None:
    ranked = np.array([[1, 0, 2], [1, 2, 0]])
    narration_of = np.array([0, 0, 1, 2, 2, 2])
    assert deal_out(ranked, narration_of, 3).tolist() == [[2, 0, 1], [2, 3, 4]]


def test_nothing_depends_on_chunks_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    ego, exo = random_narrations(90, 40, 11), random_narrations(70, 30, 12)
    wanted = nearest_segments(ego, exo, 4)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(text_search, "_FEW_PRODUCTS", 0)
        monkeypatch.setattr(text_search, "_CHUNK", (16, 12))
        np.testing.assert_array_equal(nearest_segments(ego, exo, 4), wanted)
    finally:
        torch.set_num_threads(threads)


def test_select_keeps_what_is_needed() -> None:
    narrations = Narrations(unit(5, 8, 13), np.array([4, 0, 2, 4, 1]))
    part = narrations.select(np.array([3, 2]))
    np.testing.assert_array_equal(part.vectors, narrations.vectors[[2, 4]])
    assert part.rows.tolist() == [1, 0]
    empty = narrations.select(np.array([], np.int64))
    assert nearest_segments(empty, narrations, 2).shape == (0, 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_no_difference() -> None:
    ego, exo = random_narrations(900, 400, 14), random_narrations(700, 300, 15)
    devices = torch.device("cpu"), torch.device("cuda")
    found = [nearest_segments(ego, exo, 4, device) for device in devices]
    np.testing.assert_array_equal(found[0], found[1])
