"""Metrics over segments, in percent, and their bootstrap intervals.

Pure functions. Legend: n segments, K classes. `weights` (n,) is the number of times that each
segment counts (a bootstrap resample); None: once. A value over zero segments is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

Statistic = Callable[[NDArray], float]
_INTERVAL = ((1 - 0.95) / 2, (1 + 0.95) / 2)
_CALIBRATION_BINS = 15


def rate(hits: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Share of hits (n,) bool."""
    hits = np.asarray(hits)
    weights = _weights(weights, len(hits))
    return _percent(float(weights @ hits), float(weights.sum()))


def class_mean_recall(
    hits: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> float:
    """Mean over classes of the share of hits (n,) among the segments of a class.

    The classes are those that occur in labels (n,); given `classes`, those of them that occur.
    """
    hits, labels = np.asarray(hits), np.asarray(labels)
    weights = _weights(weights, len(labels))
    size = _num_classes(labels, classes)
    seen = np.bincount(labels, weights, minlength=size)
    found = np.bincount(labels, weights * hits, minlength=size)
    chosen = _occurring(seen, classes)
    return _percent(float((found[chosen] / seen[chosen]).sum()), len(chosen))


def class_mean_precision(
    predicted: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    classes: ArrayLike | None = None,
) -> float:
    """Mean over classes of precision: the correct share of the segments predicted (n,) as a class.

    Classes as in `class_mean_recall`; a class that is never predicted has precision 0.
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    weights = _weights(weights, len(labels))
    size = max(_num_classes(labels, classes), _num_classes(predicted, None))
    seen = np.bincount(labels, weights, minlength=size)
    claimed = np.bincount(predicted, weights, minlength=size)
    right = np.bincount(labels, weights * (predicted == labels), minlength=size)
    chosen = _occurring(seen, classes)
    precisions = right[chosen] / np.maximum(claimed[chosen], np.finfo(float).tiny)
    return _percent(float(precisions.sum()), len(chosen))


def expected_calibration_error(
    confidence: ArrayLike, hits: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Mean distance between confidence (n,) in 0..1 and accuracy over bins of equal width.

    Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599, equation 3.
    """
    confidence, hits = np.asarray(confidence, dtype=np.float64), np.asarray(hits)
    weights = _weights(weights, len(hits))
    bins = _CALIBRATION_BINS
    which = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights * (hits - confidence), minlength=bins)
    return _percent(float(np.abs(gaps).sum()), float(weights.sum()))


def precision_ranking(scores: ArrayLike, targets: ArrayLike) -> Statistic:
    """Sort scores (n, K) once; the returned statistic computes the mAP of any resample.

    targets: (n, K) multi-hot. Average precision is the sum over thresholds of (recall gained) x
    precision; equal scores share a threshold. Classes without a positive are left out.
    """
    scores, positive = np.asarray(scores), np.asarray(targets) > 0
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    ranked_positive = np.take_along_axis(positive, order, axis=0)
    threshold = _last_of_equals(ranked)

    def statistic(weights: NDArray) -> float:
        ranked_weights = weights[order]
        hits = ranked_weights * ranked_positive
        seen = np.cumsum(ranked_weights, axis=0)
        precision = np.cumsum(hits, axis=0) / np.maximum(seen, np.finfo(float).tiny)
        precision = np.take_along_axis(precision, threshold, axis=0)
        total = hits.sum(axis=0)
        occurring = total > 0
        values = (hits * precision).sum(axis=0)[occurring] / total[occurring]
        return _percent(float(values.sum()), int(occurring.sum()))

    return statistic


def most_frequent(labels: ArrayLike, k: int) -> NDArray:
    """The k most frequent classes of labels (n,); of equally frequent ones, the lower first."""
    classes, counts = np.unique(np.asarray(labels), return_counts=True)
    return classes[np.argsort(-counts, kind="stable")[:k]]


def most_frequent_share(labels: ArrayLike, k: int = 1) -> float:
    """Share of the k most frequent classes among labels (n,): the score of a constant ranking."""
    return rate(np.isin(np.asarray(labels), most_frequent(labels, k)))


def bootstrap_intervals(
    statistics: Mapping[str, Statistic],
    num_segments: int,
    resamples: int = 1000,
    groups: ArrayLike | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % interval of each statistic over resamples of the segments, with replacement.

    All statistics use the same resamples; a statistic ignores the resamples where it is NaN.

    groups: (n,) the group of every segment, such as its video: whole groups are drawn, because
        segments of one group are alike. None: every segment is drawn alone.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    draws: dict[str, list[float]] = {name: [] for name in statistics}
    units = np.arange(num_segments)
    if groups is not None:
        units = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    count = int(units.max()) + 1 if num_segments else 0
    for _ in range(resamples):
        drawn = generator.integers(0, count, count)
        weights = np.bincount(drawn, minlength=count)[units].astype(np.float64)
        for name, statistic in statistics.items():
            draws[name].append(statistic(weights))
    return {name: _interval(np.asarray(values)) for name, values in draws.items()}


def paired_intervals(
    first: Mapping[str, Statistic], other: Mapping[str, Statistic], num_segments: int
) -> dict[str, tuple[float, float]]:
    """95 % interval of other - first for each statistic that both have.

    Paired bootstrap: both use the same resamples, so variation that the runs share cancels.
    """
    return bootstrap_intervals(
        {name: _difference(first[name], other[name]) for name in first if name in other},
        num_segments,
    )


def _difference(first: Statistic, other: Statistic) -> Statistic:
    return lambda weights: other(weights) - first(weights)


def _interval(values: NDArray) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, _INTERVAL) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def _last_of_equals(ranked: NDArray) -> NDArray[np.int64]:
    """Per column of the sorted (n, K), the last row that has the same value: (n, K)."""
    rows = np.arange(len(ranked))[:, None]
    ends = np.ones(ranked.shape, dtype=bool)
    ends[:-1] = ranked[:-1] != ranked[1:]
    ends_or_beyond = np.where(ends, rows, len(ranked))
    last: NDArray[np.int64] = np.minimum.accumulate(ends_or_beyond[::-1], axis=0)[::-1]
    return last


def _num_classes(labels: NDArray, classes: ArrayLike | None) -> int:
    chosen = np.asarray([] if classes is None else classes)
    return int(max(labels.max(initial=-1), chosen.max(initial=-1))) + 1


def _occurring(seen: NDArray, classes: ArrayLike | None) -> NDArray[np.int64]:
    """The given classes that at least one segment has (`seen`, (K,))."""
    if classes is None:
        return np.flatnonzero(seen)
    chosen = np.asarray(classes, dtype=np.int64)
    return chosen[seen[chosen] > 0]


def _weights(weights: ArrayLike | None, num_segments: int) -> NDArray[np.float64]:
    return np.ones(num_segments) if weights is None else np.asarray(weights, dtype=np.float64)


def _percent(part: float, whole: float) -> float:
    return 100.0 * part / whole if whole else float("nan")
