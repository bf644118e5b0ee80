"""Conversion of scores for prediction files and metrics. Legend: n segments, K classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

LOG_FLOOR = -30.0


def log_scores(probabilities: ArrayLike) -> NDArray[np.float32]:
    """log(max(p, e^-30)) of probabilities of any shape."""
    bounded = np.maximum(np.asarray(probabilities, dtype=np.float64), np.exp(LOG_FLOOR))
    return np.log(bounded).astype(np.float32)


def log_softmax(scores: ArrayLike) -> NDArray[np.float64]:
    """Row-wise log-probabilities of logits or log-probabilities (n, K)."""
    scores = np.asarray(scores, dtype=np.float64)
    shifted = scores - scores.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def metric_scores(scores: NDArray, *, logits: bool, multi_label: bool) -> NDArray:
    """Convert the scores of a model (n, K) for `HeadAnswers`.

    logits: the scores are logits; else they are outputs of the head's activation.
    """
    if not multi_label:
        return scores if logits else log_scores(scores)
    return torch.from_numpy(scores).double().sigmoid().numpy() if logits else scores


def are_probabilities(scores: ArrayLike) -> bool:
    """Whether scores (n, K) are probabilities, which the scorer would treat as logits."""
    scores = np.asarray(scores)
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3))
