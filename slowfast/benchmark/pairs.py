"""Pair mining: the published search, and ours by labels and by text.

Legend: n ego and m exo segments, D embedding width, k candidates.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slowfast.benchmark import baseline
from slowfast.benchmark.report import Check, Report, Table
from slowfast.benchmark.timing import interleaved, one_thread
from slowfast.datasets.pairs import PairTable
from slowfast.semantics.label_tiers import ExoLabels, tier_pairs
from slowfast.semantics.text_search import Narrations, nearest_segments

VERBS, NOUNS, WIDTH, TOP_K = 97, 300, 384, 3
# Rows that the published search is timed on; all of them would take minutes.
_BASELINE_ROWS = 20


@dataclass(frozen=True)
class Labels:
    """verbs, nouns: (n,) ego classes. exo_verbs, exo_nouns: per exo segment its ego classes."""

    verbs: np.ndarray
    nouns: np.ndarray
    exo_verbs: Sequence[list[int]]
    exo_nouns: Sequence[list[int]]


def made_labels(ego: int, exo: int) -> Labels:
    """Labels as frequent ones and rare ones occur: class c in proportion to 1 / (c + 1)."""
    rng = np.random.default_rng(0)

    def draw(classes: int, count: int) -> np.ndarray:
        weights = 1 / (1 + np.arange(classes))
        return rng.choice(classes, count, p=weights / weights.sum())

    sizes = rng.integers(1, 4, exo)
    return Labels(
        verbs=draw(VERBS, ego),
        nouns=draw(NOUNS, ego),
        exo_verbs=[sorted(set(draw(VERBS, size).tolist())) for size in sizes],
        exo_nouns=[sorted(set(draw(NOUNS, size).tolist())) for size in sizes],
    )


def made_narrations(segments: int, seed: int) -> Narrations:
    """Random directions, one for every four segments, as in EPIC-KITCHENS-100."""
    rng = np.random.default_rng(seed)
    distinct = max(1, segments // 4)
    vectors = rng.standard_normal((distinct, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.concatenate([np.arange(distinct), rng.integers(0, distinct, segments - distinct)])
    return Narrations(vectors, rows)


def pairs_benchmark(ego: int, exo: int, rounds: int) -> Report:
    """n = `ego` segments against m = `exo`."""
    labels = made_labels(ego, exo)
    text = made_narrations(ego, 1), made_narrations(exo, 2)
    parts = {
        f"published search ({_BASELINE_ROWS} rows, scaled)": lambda: _published(labels),
        "label tiers": lambda: _tiers(labels),
        "text": lambda: nearest_segments(*text, TOP_K),
    }
    with one_thread():
        seconds = interleaved(parts, rounds, time.thread_time)
    names = list(parts)
    milliseconds = {name: value * 1e3 for name, value in seconds.items()}
    milliseconds[names[0]] *= ego / min(_BASELINE_ROWS, ego)
    table = Table(
        f"pairs of {ego} ego and {exo} exo segments, one core",
        "processor time",
        milliseconds,
        baseline=names[0],
    )
    return Report("pairs", [table], _checks(labels, *text))


def _published(labels: Labels) -> list[list[int]]:
    rows = zip(labels.verbs[:_BASELINE_ROWS], labels.nouns[:_BASELINE_ROWS], strict=True)
    return [
        baseline.search_pairs(int(verb), int(noun), labels.exo_verbs, labels.exo_nouns, TOP_K)
        for verb, noun in rows
    ]


def _tiers(labels: Labels) -> np.ndarray:
    exo = ExoLabels(labels.exo_verbs, labels.exo_nouns, VERBS, NOUNS)
    return tier_pairs(labels.verbs, labels.nouns, exo, TOP_K)


def _checks(labels: Labels, ego: Narrations, exo: Narrations) -> list[Check]:
    tiers = _tiers(labels)
    different = sum(
        [candidate for candidate in row.tolist() if candidate >= 0] != expected
        for row, expected in zip(tiers, _published(labels), strict=False)
    )
    near = nearest_segments(ego, exo, TOP_K)
    similarity = ego.vectors[ego.rows[:_BASELINE_ROWS]] @ exo.vectors.T
    best = similarity.max(1)
    reached = (
        ego.vectors[ego.rows[:_BASELINE_ROWS]] * exo.vectors[exo.rows[near[:_BASELINE_ROWS, 0]]]
    ).sum(1)
    return [
        Check("label tiers, rows unlike the published search", different, 0, "rows"),
        Check("text, similarity below the best", float((best - reached).max()), 1e-6, "cosine"),
        Check("pair table", _table_size(tiers) / 1e6, 2.0, "MB"),
    ]


def _table_size(indices: np.ndarray) -> int:
    rng = np.random.default_rng(0)
    table = PairTable(
        indices=indices.astype(np.int32),
        similarity=rng.random(indices.shape, dtype=np.float32),
        tier=np.ones(indices.shape, np.uint8),
        settings={},
        ego_hash="",
        exo_hash="",
        exo_count=int(indices.max()) + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npz"
        table.save(path)
        return path.stat().st_size
