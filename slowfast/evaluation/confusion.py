"""Confusion matrix of a single-label head.

Legend: n segments or clips, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.evaluation.ranking import top_class


def confusion_counts(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Counts (K, K): a row per true class, a column per class of rank 0.

    scores: (n, K). labels: (n,) class ids; rows with -1, which have none, do not count.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    labelled = labels >= 0
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (labels[labelled], top_class(scores[labelled])), 1)
    return counts
