"""Measures of view alignment: cross-view retrieval by label agreement, and pair similarity.

Legend: q queries of one view, g gallery items of the other, K classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.evaluation.metrics import rate
from slowfast.evaluation.retrieval import chunks

KS = (1, 5, 10)
MOST_PAIRS = 200_000


def label_agreement(queries: Sequence[NDArray], gallery: Sequence[NDArray]) -> NDArray[np.bool_]:
    """Whether two items share a class in every head: (q, g).

    queries, gallery: per head multi-hot (q, K), (g, K), both views in one class space.
    """
    shared = [
        q.astype(np.float32) @ g.astype(np.float32).T > 0
        for q, g in zip(queries, gallery, strict=True)
    ]
    agreement: NDArray[np.bool_] = np.all(shared, axis=0)
    return agreement


def agreeing_pairs(queries: Sequence[NDArray], gallery: Sequence[NDArray]) -> NDArray[np.int64]:
    """(p, 2) rows of items that agree as in `label_agreement`; at most MOST_PAIRS, by sampling."""
    found = []
    for start, stop in chunks(len(queries[0])):
        rows, columns = np.nonzero(label_agreement([c[start:stop] for c in queries], gallery))
        found.append(np.stack([rows + start, columns], axis=1).astype(np.int64))
    pairs = np.concatenate(found)
    if len(pairs) > MOST_PAIRS:
        generator = np.random.Generator(np.random.PCG64(0))
        pairs = pairs[np.sort(generator.choice(len(pairs), MOST_PAIRS, replace=False))]
    return pairs


def cross_view_recall(
    queries: ArrayLike,
    gallery: ArrayLike,
    query_classes: Sequence[NDArray],
    gallery_classes: Sequence[NDArray],
) -> dict[str, float]:
    """Share of queries with an agreeing item among the k most similar gallery items, percent.

    queries (q, D), gallery (g, D): similarity is their inner product; ties are ordered by position.
    Classes as in `label_agreement`. Queries that agree with no item are left out;
    `num_queries` counts the others. `chance_recall_at_k` is the expectation over random rankings.
    """
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    first_hits, agreeing = [], []
    for start, stop in chunks(len(queries)):
        agrees = label_agreement([c[start:stop] for c in query_classes], gallery_classes)
        order = np.argsort(-(queries[start:stop] @ gallery.T), axis=1, kind="stable")
        first_hits.append(np.take_along_axis(agrees, order, axis=1).argmax(axis=1))
        agreeing.append(agrees.sum(axis=1))
    first_hit, num_agreeing = np.concatenate(first_hits), np.concatenate(agreeing)
    answerable = num_agreeing > 0
    values: dict[str, float] = {"num_queries": int(answerable.sum())}
    for k in KS:
        values[f"recall_at_{k}"] = rate(first_hit[answerable] < k)
        chances = 1.0 - _miss_probability(num_agreeing[answerable], len(gallery), k)
        values[f"chance_recall_at_{k}"] = rate(chances)
    return values


def pair_similarity(ego: ArrayLike, exo: ArrayLike, pairs: ArrayLike) -> dict[str, float]:
    """Mean inner product of the pairs, and of the same number of random combinations outside them.

    ego (q, D), exo (g, D): rows of norm 1. pairs: (p, 2) rows of ego and exo. `gap` is the
    difference in standard deviations of the random pairs.
    Raises: ValueError if there is no pair, or every combination is a pair.
    """
    ego, exo = np.asarray(ego, dtype=np.float64), np.asarray(exo, dtype=np.float64)
    pairs = np.asarray(pairs, dtype=np.int64)
    keys = np.unique(pairs[:, 0] * len(exo) + pairs[:, 1])
    if not 0 < len(keys) < len(ego) * len(exo):
        raise ValueError(f"{len(keys)} pairs of {len(ego)} x {len(exo)} leave nothing to compare")
    generator = np.random.Generator(np.random.PCG64(0))
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < len(pairs):
        more = generator.integers(0, len(ego) * len(exo), 2 * len(pairs))
        drawn = np.concatenate([drawn, more[~np.isin(more, keys)]])
    rows, columns = np.divmod(drawn[: len(pairs)], len(exo))
    positive = (ego[pairs[:, 0]] * exo[pairs[:, 1]]).sum(axis=1)
    random = (ego[rows] * exo[columns]).sum(axis=1)
    spread = max(float(random.std()), np.finfo(float).tiny)
    difference = float(positive.mean() - random.mean())
    return {
        "positive": float(positive.mean()),
        "random": float(random.mean()),
        "gap": difference / spread,
    }


def _miss_probability(num_agreeing: NDArray, size: int, k: int) -> NDArray[np.float64]:
    """Probability that k distinct random items out of `size` all disagree."""
    missed = np.ones(len(num_agreeing))
    for drawn in range(min(k, size)):
        missed *= np.maximum(size - num_agreeing - drawn, 0) / (size - drawn)
    return missed
