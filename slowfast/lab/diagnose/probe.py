"""Linear probe in closed form: how much of a label a feature holds, linearly.

Legend: n training and m test segments, F channels, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.evaluation.metrics import rate

# Ridge penalties, relative to the largest squared singular value of the training features.
PENALTIES = tuple(10.0**power for power in range(-8, 1))


def probe_accuracy(
    train: ArrayLike, train_labels: ArrayLike, test: ArrayLike, test_labels: ArrayLike
) -> float:
    """Top-1 accuracy on the test segments, in percent, of ridge regression to one-hot labels.

    train (n, F), test (m, F). Labels (n,), (m,): class ids, -1 for a segment that is left out. The
    penalty is the one of PENALTIES with the smallest leave-one-out error on the training segments;
    of equal ones the smaller.

    Raises: ValueError without a labelled segment on either side.
    """
    x, y = _labelled(train, train_labels)
    x_test, y_test = _labelled(test, test_labels)
    classes, columns = np.unique(y, return_inverse=True)
    targets = np.eye(len(classes))[columns]
    mean, prior = x.mean(axis=0), targets.mean(axis=0)
    left, scale, right = np.linalg.svd(x - mean, full_matrices=False)
    projected = left.T @ (targets - prior)
    kept = min(
        (_shrinkage(scale, penalty) for penalty in PENALTIES),
        key=lambda shares: _left_out_error(left, shares, projected, targets - prior),
    )
    # Directions without variance hold nothing.
    inverse = np.divide(kept, scale, out=np.zeros_like(scale), where=scale > 0)
    scores = (x_test - mean) @ (right.T @ (inverse[:, None] * projected)) + prior
    return rate(classes[scores.argmax(axis=1)] == y_test)


def _labelled(features: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    labels = np.asarray(labels)
    kept = labels >= 0
    if not kept.any():
        raise ValueError("no labelled segment")
    return np.asarray(features, dtype=np.float64)[kept], labels[kept]


def _shrinkage(scale: NDArray, penalty: float) -> NDArray:
    """Share of each singular direction that the penalty leaves."""
    squares = scale**2
    return squares / (squares + penalty * max(squares.max(), np.finfo(float).tiny))


def _left_out_error(left: NDArray, shares: NDArray, projected: NDArray, targets: NDArray) -> float:
    """Mean squared error of every training row, predicted from the others (Allen's PRESS)."""
    residual = targets - left @ (shares[:, None] * projected)
    # 1/n: the mean is fitted too.
    influence = (left**2 * shares).sum(axis=1) + 1 / len(left)
    return float(((residual / (1 - influence)[:, None]) ** 2).mean())
