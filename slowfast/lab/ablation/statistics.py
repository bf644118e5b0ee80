"""Means, deviations and paired differences of arms that were tested on the same segments.

Legend: S seeds, n segments.

The interval of a difference is over seeds and segments at once, which are crossed: every seed is
tested on the same segments. So both are resampled with replacement, and independently of each
other (the pigeonhole bootstrap, Owen, Annals of Applied Statistics 1 (2007) 386-411); drawing new
segments for every seed would take an easy segment's luck for S independent ones. Arms are paired:
a resample takes the same seeds and the same segments of both. Resampling S seeds has (S - 1) / S
of the variance that S seeds have, which matters for few of them, so the resamples' distances from
the estimate are multiplied by sqrt(S / (S - 1)) (Davison and Hinkley, Bootstrap Methods and their
Application, 1997, section 3.8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_CHUNK = 1000
_LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """Percent. deviation: standard deviation over seeds (S - 1 in the denominator), NaN for one."""

    value: float
    deviation: float
    seeds: int


@dataclass(frozen=True)
class Difference:
    """Percentage points, and the ends of the 95 % interval."""

    value: float
    low: float
    high: float
    seeds: int


def mean_over_seeds(hits: NDArray[np.bool_]) -> Mean:
    """Of hits (S, n)."""
    per_seed = 100 * hits.mean(axis=1)
    deviation = float(per_seed.std(ddof=1)) if len(per_seed) > 1 else math.nan
    return Mean(float(per_seed.mean()), deviation, len(per_seed))


def paired_difference(
    hits: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    resamples: int = RESAMPLES,
) -> Difference:
    """Mean of hits - reference, both (S, n), same seeds and segments in the same order."""
    if hits.shape != reference.shape or hits.ndim != 2 or not hits.size:
        raise ValueError(f"hits {hits.shape} and reference {reference.shape}")
    gains = 100 * (hits.astype(np.float64) - reference)
    estimate = float(gains.mean())
    draws = _crossed_means(gains, resamples, np.random.default_rng(0))
    seeds = len(gains)
    widening = math.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0
    tail = (1 - _LEVEL) / 2
    low, high = estimate + widening * (np.quantile(draws, [tail, 1 - tail]) - estimate)
    return Difference(estimate, float(low), float(high), seeds)


def _crossed_means(
    gains: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Mean gain of every resample: seeds and segments drawn independently, (resamples,)."""
    seeds, segments = gains.shape
    means = []
    for first in range(0, resamples, _CHUNK):
        count = min(_CHUNK, resamples - first)
        seed_share = rng.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
        segment_share = rng.multinomial(segments, np.full(segments, 1 / segments), count) / segments
        means.append(((seed_share @ gains) * segment_share).sum(axis=1))
    return np.concatenate(means)
