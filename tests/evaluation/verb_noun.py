"""Predictions of the heads verb and noun of EPIC-KITCHENS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.predictions import Predictions


def verb_noun(verb: ArrayLike, noun: ArrayLike, ids: Sequence[str]) -> Predictions:
    """Scores (n, V), (n, M)."""
    scores = {"verb": np.asarray(verb), "noun": np.asarray(noun)}
    return Predictions(scores, np.array(ids))


def verb_noun_heads(num_verbs: int, num_nouns: int) -> tuple[HeadSpec, HeadSpec]:
    return HeadSpec("verb", num_verbs, False), HeadSpec("noun", num_nouns, False)
