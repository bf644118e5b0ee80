"""Rank of the true class, or of the true (verb, noun) pair, in a segment's scores.

Legend: n segments, K classes, V and M verb and noun classes. A rank is 0-based: a segment is
correct in the top k if its rank is below k. Classes are ranked with numpy's default sort, as in the
public EPIC scorer, so that ties are broken in the same way; the order of ties depends on numpy's
build.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Number of best verbs and nouns that form a segment's actions, as in the public scorer.
ACTION_DEPTH = 100
_CHUNK_ROWS = 128


def label_ranks(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Rank of each segment's label (n,) among its scores (n, K).

    Raises: ValueError if a label is not a class of the scores.
    """
    scores, labels = np.asarray(scores), np.asarray(labels, dtype=np.int64)
    num_classes = scores.shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels {labels.min()}..{labels.max()} for {num_classes} classes")
    ranks: NDArray[np.int64] = (_ranked_classes(scores) == labels[:, None]).argmax(axis=1)
    return ranks


def top_class(scores: ArrayLike) -> NDArray[np.int64]:
    """The class of rank 0, (n,), of scores (n, K)."""
    return _ranked_classes(np.asarray(scores))[:, 0]


def action_ranks(
    verb_scores: ArrayLike, noun_scores: ArrayLike, verbs: ArrayLike, nouns: ArrayLike
) -> NDArray[np.int64]:
    """Rank of each true pair by the product of its probabilities, segment by segment.

    Scores (n, V), (n, M) are logits or log-probabilities: their sum orders the pairs of a segment
    like the product of the soft-maxes. Labels (n,). Of equal pairs, the one with the worse verb,
    then with the worse noun, comes first. A label outside the best ACTION_DEPTH classes gets rank
    V x M.
    """
    verb_scores, noun_scores = np.asarray(verb_scores), np.asarray(noun_scores)
    verb_terms = _best_scores(verb_scores).astype(np.float64)
    noun_terms = _best_scores(noun_scores).astype(np.float64)
    verb_ranks, noun_ranks = label_ranks(verb_scores, verbs), label_ranks(noun_scores, nouns)
    ranks = np.full(len(verb_scores), verb_scores.shape[1] * noun_scores.shape[1])
    for rows, own_position in _rankable(verb_terms, noun_terms, verb_ranks, noun_ranks):
        pairs = verb_terms[rows][:, :, None] + noun_terms[rows][:, None, :]
        pairs = pairs.reshape(len(rows), -1)
        own = np.take_along_axis(pairs, own_position, axis=1)
        ties_ahead = (pairs == own) & (np.arange(pairs.shape[1]) > own_position)
        ranks[rows] = (pairs > own).sum(axis=1) + ties_ahead.sum(axis=1)
    return ranks


def scorer_action_ranks(
    verb_scores: ArrayLike, noun_scores: ArrayLike, verbs: ArrayLike, nouns: ArrayLike
) -> NDArray[np.int64]:
    """As `action_ranks`, with the arithmetic of the public scorer.

    The scorer computes one soft-max over all segments, in the precision of the file: if one
    segment has much larger scores than the rest, the others underflow to ties.
    """
    verb_scores, noun_scores = np.asarray(verb_scores), np.asarray(noun_scores)
    verb_terms = _whole_array_softmax(_best_scores(verb_scores))
    noun_terms = _whole_array_softmax(_best_scores(noun_scores))
    verb_ranks, noun_ranks = label_ranks(verb_scores, verbs), label_ranks(noun_scores, nouns)
    ranks = np.full(len(verb_scores), verb_scores.shape[1] * noun_scores.shape[1])
    for rows, own_position in _rankable(verb_terms, noun_terms, verb_ranks, noun_ranks):
        pairs = verb_terms[rows][:, :, None] * noun_terms[rows][:, None, :]
        ranked = _ranked_classes(pairs.reshape(len(rows), -1))
        ranks[rows] = (ranked == own_position).argmax(axis=1)
    return ranks


def _ranked_classes(scores: NDArray) -> NDArray[np.int64]:
    """Classes by descending score: (n, K)."""
    return np.argsort(scores, axis=1)[:, ::-1]


def _best_scores(scores: NDArray) -> NDArray:
    """The highest scores of each row, descending: (n, min(K, ACTION_DEPTH))."""
    return np.sort(scores, axis=1)[:, ::-1][:, :ACTION_DEPTH]


def _whole_array_softmax(scores: NDArray) -> NDArray:
    powers: NDArray = np.exp(scores - scores.max())
    return powers / powers.sum()


def _rankable(
    verb_terms: NDArray, noun_terms: NDArray, verb_ranks: NDArray, noun_ranks: NDArray
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield chunks: rows, and positions (r, 1) of their true pairs among the ranked pairs."""
    num_verbs, num_nouns = verb_terms.shape[1], noun_terms.shape[1]
    within = np.flatnonzero((verb_ranks < num_verbs) & (noun_ranks < num_nouns))
    for start in range(0, len(within), _CHUNK_ROWS):
        rows = within[start : start + _CHUNK_ROWS]
        yield rows, (verb_ranks[rows] * num_nouns + noun_ranks[rows])[:, None]
