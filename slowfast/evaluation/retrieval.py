"""Multi-instance retrieval between clips and sentences: mean average precision and nDCG.

The EPIC-KITCHENS-100 protocol. Legend: q queries, g gallery items, n clips, m sentences, K noun
classes, D embedding width. Queries are processed in chunks, so the full similarity matrix is never
in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK_QUERIES = 256

# Rows of a (q, g) matrix: (start, stop) -> (stop - start, g).
Rows = Callable[[int, int], NDArray]


@dataclass(frozen=True)
class ActionClasses:
    """Classes of clips or sentences: verbs (n,) class ids, nouns (n, K) bool class sets."""

    verbs: NDArray[np.int64]
    nouns: NDArray[np.bool_]

    @classmethod
    def from_lists(
        cls, verbs: Sequence[int], nouns: Sequence[Sequence[int]], num_nouns: int
    ) -> ActionClasses:
        """Build from one verb and one list of noun classes per item."""
        sets = np.zeros((len(nouns), num_nouns), dtype=bool)
        for row, classes in enumerate(nouns):
            sets[row, list(classes)] = True
        return cls(np.asarray(verbs, dtype=np.int64), sets)


@dataclass(frozen=True)
class RetrievalScores:
    """Values of one direction in percent, over the queries that have a relevant item.

    mean_ap: only relevance 1 is a hit. graded_ap: the same hits, but partly relevant items ranked
    above them count with their relevance in the precision, as in the public implementation.
    ndcg: gain = relevance, discount log2(rank + 1), cut at the number of relevant items.
    """

    mean_ap: float
    graded_ap: float
    ndcg: float


def relevance(queries: ActionClasses, gallery: ActionClasses) -> NDArray[np.float32]:
    """Relevance (q, g) in 0..1: half for the same verb, half for the IoU of the noun sets."""
    shared = queries.nouns.astype(np.float32) @ gallery.nouns.astype(np.float32).T
    sizes = queries.nouns.sum(axis=1)[:, None] + gallery.nouns.sum(axis=1)[None, :]
    overlap = shared / np.maximum(sizes - shared, 1)
    same_verb = queries.verbs[:, None] == gallery.verbs[None, :]
    graded: NDArray[np.float32] = ((same_verb + overlap) / 2).astype(np.float32)
    return graded


def multi_instance_retrieval(
    clip_features: ArrayLike,
    sentence_features: ArrayLike,
    clips: ActionClasses,
    sentences: ActionClasses,
) -> dict[str, float]:
    """mAP, graded mAP and nDCG: clip to sentence (vt), sentence to clip (tv), their average (avg).

    clip_features (n, D), sentence_features (m, D): similarity is their inner product.
    """
    clip_features = np.asarray(clip_features, dtype=np.float32)
    sentence_features = np.asarray(sentence_features, dtype=np.float32)
    directions = {
        "vt": score_features(clip_features, sentence_features, clips, sentences),
        "tv": score_features(sentence_features, clip_features, sentences, clips),
    }
    return _named(directions)


def chance_retrieval(
    clips: ActionClasses, sentences: ActionClasses, queries: int = 1000
) -> dict[str, float]:
    """Scores of random rankings, for a sample of queries per direction, with replacement.

    Names as in `multi_instance_retrieval` with the prefix `chance_`.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    directions = {}
    for name, asking, answers in (("vt", clips, sentences), ("tv", sentences, clips)):
        chosen = generator.integers(0, len(asking.verbs), queries)
        part = ActionClasses(asking.verbs[chosen], asking.nouns[chosen])
        similarity = generator.random((queries, len(answers.verbs)), dtype=np.float32)
        directions[name] = retrieval_scores(
            similarity_rows(similarity), relevance_rows(part, answers), queries
        )
    return {f"chance_{name}": value for name, value in _named(directions).items()}


def score_features(
    queries: NDArray, gallery: NDArray, query_classes: ActionClasses, gallery_classes: ActionClasses
) -> RetrievalScores:
    """One direction of retrieval with features (q, D), (g, D)."""

    return retrieval_scores(
        lambda start, stop: queries[start:stop] @ gallery.T,
        relevance_rows(query_classes, gallery_classes),
        len(queries),
    )


def relevance_rows(queries: ActionClasses, gallery: ActionClasses) -> Rows:
    """The relevance matrix, computed row by row."""

    def rows(start: int, stop: int) -> NDArray:
        part = ActionClasses(queries.verbs[start:stop], queries.nouns[start:stop])
        return relevance(part, gallery)

    return rows


def similarity_rows(matrix: NDArray) -> Rows:
    """The rows of a matrix in memory."""
    return lambda start, stop: matrix[start:stop]


def retrieval_scores(similarity: Rows, relevances: Rows, num_queries: int) -> RetrievalScores:
    """One direction of retrieval, from the rows of the similarity and relevance matrices (q, g)."""
    parts = [
        _query_scores(similarity(start, stop), relevances(start, stop))
        for start, stop in chunks(num_queries)
    ]
    means = [_mean_percent(np.concatenate(column)) for column in zip(*parts, strict=True)]
    return RetrievalScores(*means)


def chunks(num_queries: int) -> Iterator[tuple[int, int]]:
    for start in range(0, num_queries, CHUNK_QUERIES):
        yield start, min(start + CHUNK_QUERIES, num_queries)


def _named(directions: Mapping[str, RetrievalScores]) -> dict[str, float]:
    """Values by name (`vt_mAP` ...), and the averages of both directions (`avg_mAP` ...)."""
    values: dict[str, float] = {}
    for name, field in (("mAP", "mean_ap"), ("graded_mAP", "graded_ap"), ("nDCG", "ndcg")):
        both = {d: getattr(scores, field) for d, scores in directions.items()}
        values |= {f"{d}_{name}": value for d, value in both.items()}
        values[f"avg_{name}"] = sum(both.values()) / 2
    return values


def _query_scores(similarity: NDArray, relevances: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Average precision, graded average precision and nDCG per query; NaN where undefined."""
    order = np.argsort(-similarity, axis=1, kind="stable")
    ranked = np.take_along_axis(relevances, order, axis=1).astype(np.float64)
    places = np.arange(1, ranked.shape[1] + 1)
    hits = ranked == 1
    num_hits = np.where(hits.any(axis=1), hits.sum(axis=1), np.nan)
    precision = np.cumsum(hits, axis=1) / places
    graded = np.cumsum(ranked, axis=1) / places
    return (
        (precision * hits).sum(axis=1) / num_hits,
        (graded * hits).sum(axis=1) / num_hits,
        _ndcg(ranked, places),
    )


def _ndcg(ranked: NDArray, places: NDArray) -> NDArray:
    related = (ranked > 0).sum(axis=1)
    discount = (places <= related[:, None]) / np.log2(places + 1)
    best = np.sort(ranked, axis=1)[:, ::-1]
    ideal = (best * discount).sum(axis=1)
    return (ranked * discount).sum(axis=1) / np.where(related > 0, ideal, np.nan)


def _mean_percent(values: NDArray) -> float:
    values = values[~np.isnan(values)]
    return 100.0 * float(values.mean()) if len(values) else float("nan")
