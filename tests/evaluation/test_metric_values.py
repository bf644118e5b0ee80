"""Metrics against naive loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from slowfast.evaluation import metrics
from slowfast.evaluation.ranking import label_ranks

RNG = np.random.default_rng(7)


def _naive_average_precision(scores: np.ndarray, positives: np.ndarray) -> float:
    """Sum over thresholds of recall gained times precision."""
    total, previous_recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        recall = positives[chosen].sum() / positives.sum()
        total += (recall - previous_recall) * positives[chosen].mean()
        previous_recall = recall
    return total


def _mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    return metrics.precision_ranking(scores, targets)(np.ones(len(scores)))


def test_topk_counts_of_one_and_several_heads() -> None:
    verb = label_ranks([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3], [0.2, 0.3, 0.5]], [1, 2, 0])
    noun = label_ranks([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2]], [0, 1, 0])
    assert [int((verb < k).sum()) for k in (1, 2, 5)] == [1, 2, 3]
    assert [int(((verb < k) & (noun < k)).sum()) for k in (1, 2)] == [1, 2]


@pytest.mark.parametrize("decimals", [None, 1])
def test_average_precision_equals_the_naive_one_with_and_without_ties(decimals: int | None) -> None:
    scores, targets = RNG.random((60, 8)), RNG.random((60, 8)) < 0.2
    targets[:, 3] = False
    if decimals is not None:
        scores = scores.round(decimals)
    with_positives = [k for k in range(8) if targets[:, k].any()]
    expected = np.mean(
        [_naive_average_precision(scores[:, k], targets[:, k]) for k in with_positives]
    )
    assert len(with_positives) == 7
    assert _mean_average_precision(scores, targets) == pytest.approx(100 * expected)


def test_weights_count_segments_as_repeating_them_does() -> None:
    n = 80
    scores, targets = RNG.random((n, 5)).round(1), RNG.random((n, 5)) < 0.3
    labels, predicted = RNG.integers(0, 6, n), RNG.integers(0, 6, n)
    hits, confidence = labels == predicted, RNG.random(n)
    weights = RNG.integers(0, 4, n)
    again = np.repeat(np.arange(n), weights)
    w = weights.astype(float)
    for weighted, repeated in [
        (metrics.rate(hits, w), metrics.rate(hits[again])),
        (
            metrics.class_mean_recall(hits, labels, w),
            metrics.class_mean_recall(hits[again], labels[again]),
        ),
        (
            metrics.class_mean_precision(predicted, labels, w, [1, 2]),
            metrics.class_mean_precision(predicted[again], labels[again], None, [1, 2]),
        ),
        (
            metrics.expected_calibration_error(confidence, hits, w),
            metrics.expected_calibration_error(confidence[again], hits[again]),
        ),
        (
            metrics.precision_ranking(scores, targets)(w),
            _mean_average_precision(scores[again], targets[again]),
        ),
    ]:
        assert weighted == pytest.approx(repeated, rel=1e-12)


def test_class_means_equal_naive_loops() -> None:
    labels, predicted = RNG.integers(0, 9, 200), RNG.integers(0, 9, 200)
    hits = labels == predicted
    recalls = [hits[labels == c].mean() for c in range(9)]
    precisions = [(labels[predicted == c] == c).mean() for c in range(9)]
    assert metrics.class_mean_recall(hits, labels) == pytest.approx(100 * np.mean(recalls))
    assert metrics.class_mean_recall(hits, labels, classes=[2, 5, 40]) == pytest.approx(
        50 * (recalls[2] + recalls[5])
    )
    assert metrics.class_mean_precision(predicted, labels) == pytest.approx(
        100 * np.mean(precisions)
    )


def test_a_class_never_predicted_has_precision_zero() -> None:
    assert metrics.class_mean_precision([0, 0], [0, 1]) == pytest.approx(25.0)


def test_calibration_error_equals_the_naive_one() -> None:
    confidence, hits = RNG.random(500), RNG.random(500) < 0.4
    expected = 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    assert metrics.expected_calibration_error(confidence, hits) == pytest.approx(100 * expected)
    assert metrics.expected_calibration_error([1.0, 1.0], [True, True]) == 0.0


def test_constant_answers() -> None:
    labels = [3, 3, 3, 1, 1, 0, 7, 8, 9, 9]
    assert metrics.most_frequent_share(labels) == pytest.approx(30.0)
    assert metrics.most_frequent_share(labels, 2) == pytest.approx(50.0)
    assert metrics.most_frequent(labels, 3).tolist() == [3, 1, 9]


def test_intervals_of_a_rate_are_those_of_the_binomial() -> None:
    hits = np.arange(400) < 100
    low, high = metrics.bootstrap_intervals({"r": lambda w: metrics.rate(hits, w)}, 400)["r"]
    half = 100 * 1.96 * np.sqrt(0.25 * 0.75 / 400)
    # 1000 resamples give a 95 % bound to about a tenth of the half width.
    assert low == pytest.approx(25 - half, abs=0.2 * half)
    assert high == pytest.approx(25 + half, abs=0.2 * half)


def test_intervals_repeat_and_skip_undefined_resamples() -> None:
    rare = np.arange(20) == 0
    statistics = {"rare": lambda w: metrics.rate(np.ones(20), w * rare)}
    first = metrics.bootstrap_intervals(statistics, 20, resamples=50)
    assert first == {"rare": (100.0, 100.0)}
    noisy = {"mean": lambda w: float(w @ np.arange(20))}
    again = [metrics.bootstrap_intervals(noisy, 20, resamples=50) for _ in range(2)]
    assert again[0] == again[1]
