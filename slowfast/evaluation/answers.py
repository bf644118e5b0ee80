"""Input of a metric: the labels and the answers of one head, or of all heads together.

Legend: n segments, K classes of a head. A rank is 0-based, see `evaluation.ranking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce

import numpy as np
from numpy.typing import NDArray

from slowfast.evaluation.ranking import label_ranks, top_class
from slowfast.evaluation.scores import log_softmax


class Answers:
    """Answers to n labelled segments.

    labels: (n,) class ids; of a multi-label head (n, K) bool.
    """

    def __init__(self, labels: NDArray) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the best answer is right: (n,)."""
        raise NotImplementedError

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the best answer: (n,), 0..1."""
        raise NotImplementedError

    def in_top(self, k: int) -> NDArray[np.bool_]:
        """Whether the label is among the k best answers: (n,)."""
        raise NotImplementedError


class HeadAnswers(Answers):
    """Answers of one head. The properties are for single-label heads, computed on first use.

    scores: (n, K); logits or log-probabilities; for a multi-label head, probabilities.
    """

    def __init__(self, scores: NDArray, labels: NDArray) -> None:
        super().__init__(labels)
        self.scores = scores

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Rank of the label among the scores: (n,)."""
        return label_ranks(self.scores, self.labels)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the best answer: (n,)."""
        return top_class(self.scores)

    @property
    def hits(self) -> NDArray[np.bool_]:
        return self.ranks < 1

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(np.exp(log_softmax(self.scores).max(axis=1)))

    def in_top(self, k: int) -> NDArray[np.bool_]:
        return self.ranks < k


class JointAnswers(Answers):
    """Answers of several single-label heads together, right if every head is right.

    labels: (n,) ids of the combinations of labels that occur.
    ranks: (n,) ranks of the combinations; None if they were not computed, as in training,
        where ranking all pairs costs too much. The best answer does not need them.
    """

    def __init__(
        self, heads: Sequence[HeadAnswers], ranks: NDArray[np.int64] | None = None
    ) -> None:
        super().__init__(combination_ids(np.stack([head.labels for head in heads], axis=1))[0])
        self._heads = heads
        self.ranks = ranks

    @property
    def hits(self) -> NDArray[np.bool_]:
        return np.asarray(np.all([head.hits for head in self._heads], axis=0))

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        return np.asarray(reduce(np.multiply, [head.confidence for head in self._heads]))

    def in_top(self, k: int) -> NDArray[np.bool_]:
        """As in `Answers`. Raises: ValueError for k above 1 if combinations are not ranked."""
        if self.ranks is not None:
            return self.ranks < k
        if k > 1:
            raise ValueError(
                f"the combinations of {len(self._heads)} heads are not ranked; register the metric"
                ' with joint="ranking" or joint="none"'
            )
        return self.hits


def combination_ids(*rows: NDArray) -> list[NDArray[np.int64]]:
    """Consecutive ids for the rows (., heads) of each array, equal for equal rows."""
    _, ids = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    return np.split(ids.reshape(-1), np.cumsum([len(part) for part in rows])[:-1])
