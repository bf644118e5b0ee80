"""The official values of scores, without a results file."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from slowfast.evaluation.epic import Subsets, official_values, rank_segments, subset_masks


def official_metrics(
    verb_scores: ArrayLike,
    noun_scores: ArrayLike,
    verbs: ArrayLike,
    nouns: ArrayLike,
    participants: ArrayLike,
    subsets: Subsets,
    scorer_compat: bool = False,
) -> dict[str, float]:
    """By name, in percent; arguments as those of `evaluation.epic`."""
    ranks = rank_segments(verb_scores, noun_scores, verbs, nouns, scorer_compat)
    masks = subset_masks(verbs, nouns, participants, subsets)
    return {v.name: v(np.ones(len(v.mask))) for v in official_values(ranks, masks)}
