"""Means and intervals against hand computation, and what a resample may and may not do."""

import math

import numpy as np
import pytest

from slowfast.lab.ablation import statistics
from slowfast.lab.ablation.statistics import mean_over_seeds, paired_difference

# Three seeds, four segments.
ARM = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool)
REFERENCE = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 1]], bool)


def test_mean_and_deviation():
    """75, 50 and 100 %: mean 75, squared distances 0, 625, 625 over S - 1 = 2."""
    mean = mean_over_seeds(ARM)
    assert mean.value == pytest.approx(75.0)
    assert mean.deviation == pytest.approx(math.sqrt(625.0))
    assert mean.seeds == 3
    assert math.isnan(mean_over_seeds(ARM[:1]).deviation)


def test_difference_is_the_mean_of_paired_gains():
    """Gains 2/4, 1/4 and 1/4 of a segment."""
    assert paired_difference(ARM, REFERENCE).value == pytest.approx(100 * (0.5 + 0.25 + 0.25) / 3)


def test_every_resample_is_a_product_of_seed_and_segment_counts(monkeypatch):
    """The drawn means, from the same counts, by a double loop over seeds and segments."""
    drawn = []

    class Recorder:
        def __init__(self):
            self.rng = np.random.default_rng(3)

        def multinomial(self, count, shares, size):
            drawn.append(self.rng.multinomial(count, shares, size))
            return drawn[-1]

    gains = 100.0 * (ARM.astype(float) - REFERENCE)
    means = statistics._crossed_means(gains, 5, Recorder())
    seed_counts, segment_counts = drawn
    assert seed_counts.shape == (5, 3)
    assert segment_counts.shape == (5, 4)
    for r in range(5):
        total = 0.0
        for s in range(3):
            for i in range(4):
                total += seed_counts[r, s] * segment_counts[r, i] * gains[s, i]
        assert means[r] == pytest.approx(total / (3 * 4))


def test_interval_of_gains_that_only_depend_on_the_seed():
    """Two seeds with gains 0 and 100: resamples are 0, 50, 50, 100; widened by sqrt(2) from 50."""
    reference = np.zeros((2, 6), bool)
    arm = np.stack([np.zeros(6, bool), np.ones(6, bool)])
    found = paired_difference(arm, reference)
    assert found.value == pytest.approx(50.0)
    assert found.low == pytest.approx(50 - math.sqrt(2) * 50)
    assert found.high == pytest.approx(50 + math.sqrt(2) * 50)


def test_interval_of_gains_that_only_depend_on_the_segment():
    """All seeds alike: n independent segments, so that sqrt(p (1 - p) / n) times 1.96 is close."""
    rng = np.random.default_rng(0)
    gains = np.repeat(rng.random((1, 800)) < 0.3, 5, axis=0)
    found = paired_difference(gains, np.zeros_like(gains))
    p = gains[0].mean()
    # sqrt(5 / 4): the widening for five seeds.
    half = 100 * 1.96 * math.sqrt(p * (1 - p) / 800) * math.sqrt(5 / 4)
    assert found.high - found.value == pytest.approx(half, rel=0.06)
    assert found.value - found.low == pytest.approx(half, rel=0.06)


def test_equal_arms_differ_by_exactly_nothing():
    found = paired_difference(ARM, ARM)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_pairing_removes_what_both_arms_share():
    """Both arms hit the same hard and easy segments except a tenth: far narrower."""
    rng = np.random.default_rng(1)
    reference = np.repeat(rng.random((1, 600)) < 0.5, 5, axis=0)
    gained = rng.random((1, 600)) < 0.1
    paired = paired_difference(reference | gained, reference)
    unpaired = paired_difference((reference | gained)[:, ::-1], reference)
    assert paired.low > 0
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 2


def test_intervals_cover_the_truth():
    """Seed effects of 4 points, segment effects and noise: of 100 intervals about 95 hold 0."""
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(100):
        level = np.clip(rng.normal(0.4, 0.2, 200), 0, 1)
        shift = rng.normal(0, 0.04, (2, 5, 1))
        arm, reference = rng.random((2, 5, 200)) < np.clip(level + shift, 0, 1)
        found = paired_difference(arm, reference, resamples=400)
        held += found.low <= 0 <= found.high
    assert held >= 92


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError):
        paired_difference(ARM, REFERENCE[:2])
