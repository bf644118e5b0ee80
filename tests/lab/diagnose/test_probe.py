"""The linear probe against normal equations that are solved row by row."""

import numpy as np
import pytest

from slowfast.lab.diagnose.probe import PENALTIES, probe_accuracy

CLASSES = 3


def overlapping(seed: int, rows: int, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes that overlap, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    centres = np.random.default_rng(0).standard_normal((CLASSES, width))
    return centres[labels] + rng.standard_normal((rows, width)), labels


def fitted(x: np.ndarray, targets: np.ndarray, penalty: float, rows: np.ndarray) -> np.ndarray:
    """Scores of `rows` by ridge regression with an intercept that is not penalised."""
    mean, prior = x.mean(0), targets.mean(0)
    centred = x - mean
    weights = np.linalg.solve(
        centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (targets - prior)
    )
    return (rows - mean) @ weights + prior


def test_it_equals_normal_equations_and_leaves_one_out_in_a_loop():
    (x, y), (x_test, y_test) = overlapping(1, 40), overlapping(2, 30)
    targets = np.eye(CLASSES)[y]
    largest = np.linalg.svd(x - x.mean(0), compute_uv=False)[0] ** 2
    errors = []
    for penalty in PENALTIES:
        left_out = []
        for row in range(len(x)):
            others = np.arange(len(x)) != row
            # The centre of a fit without the row is that of the others, as in the closed form.
            scores = fitted(x[others], targets[others], penalty * largest, x[row])
            left_out.append(((scores - targets[row]) ** 2).mean())
        errors.append(np.mean(left_out))
    best = PENALTIES[int(np.argmin(errors))]
    assert PENALTIES[0] < best < PENALTIES[-1]
    wanted = fitted(x, targets, best * largest, x_test).argmax(1) == y_test
    assert 0.4 < wanted.mean() < 1
    assert probe_accuracy(x, y, x_test, y_test) == pytest.approx(100 * wanted.mean())


def test_classes_that_a_plane_separates_are_all_found():
    rng = np.random.default_rng(4)
    labels = np.arange(60) % CLASSES
    features = 10 * np.eye(CLASSES)[labels] + rng.uniform(-1, 1, (60, CLASSES))
    assert probe_accuracy(features[:30], labels[:30], features[30:], labels[30:]) == 100


def test_segments_without_a_label_are_left_out():
    (x, y), (x_test, y_test) = overlapping(1, 40), overlapping(2, 30)
    wanted = probe_accuracy(x, y, x_test, y_test)
    far = np.full((2, x.shape[1]), 1e3)
    x, x_test = np.concatenate([far, x]), np.concatenate([far, x_test])
    y, y_test = np.concatenate([[-1, -1], y]), np.concatenate([[-1, -1], y_test])
    assert probe_accuracy(x, y, x_test, y_test) == wanted
    with pytest.raises(ValueError, match="no labelled segment"):
        probe_accuracy(x[:2], y[:2], x_test, y_test)


def test_scale_and_unused_channels_change_nothing():
    (x, y), (x_test, y_test) = overlapping(1, 40), overlapping(2, 30)
    wide, wide_test = (np.hstack([1e-3 * part, np.ones((len(part), 60))]) for part in (x, x_test))
    assert probe_accuracy(wide, y, wide_test, y_test) == probe_accuracy(x, y, x_test, y_test)
