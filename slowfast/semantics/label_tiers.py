"""Pseudo-pairs by label overlap: the published tiers, for all actions at once.

An exo segment that has an ego segment's verb or noun is in exactly one tier of it:

- same: the exo segment has exactly this verb and exactly this noun;
- subset: it has both, and more;
- verb: it has the verb, not the noun;
- noun: it has the noun, not the verb.

An exo label without an ego class counts as one more label that equals none.

Legend: P distinct ego actions (verb, noun), m exo segments, k candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slowfast.datasets.pairs import Tier

# The tier that a segment is joined from is the first of these that is not empty.
TIER_ORDER = (Tier.SAME, Tier.SUBSET, Tier.VERB, Tier.NOUN)

# Ego classes of one task, per exo segment; None where a label has no ego class.
ExoClasses = Sequence[Sequence[int | None]]


class ExoLabels:
    """The exo segments' labels as ego classes.

    has_verb: (verbs, m) bool. has_noun: (nouns, m) bool.
    single: (m,) bool, one verb, one noun, and nothing else.
    """

    def __init__(
        self, verbs: ExoClasses, nouns: ExoClasses, num_verbs: int, num_nouns: int
    ) -> None:
        """num_verbs, num_nouns: ego classes."""
        self.has_verb, single_verb = _membership(verbs, num_verbs)
        self.has_noun, single_noun = _membership(nouns, num_nouns)
        self.single = single_verb & single_noun

    def __len__(self) -> int:
        return len(self.single)

    def tier_of(self, verbs: np.ndarray, nouns: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Tier (n, k) uint8 of pairs: verbs, nouns (n,) with exo segments (n, k), -1 for none."""
        verb = self.has_verb[verbs[:, None], indices]
        noun = self.has_noun[nouns[:, None], indices]
        both = verb & noun
        tier = np.select(
            [both & self.single[indices], both, verb, noun],
            [Tier.SAME, Tier.SUBSET, Tier.VERB, Tier.NOUN],
            Tier.NONE,
        )
        return np.where(indices >= 0, tier, Tier.NONE).astype(np.uint8)

    def members(self, verb: int, noun: int, tier: Tier) -> np.ndarray:
        """The exo segments in a tier of an action, in order."""
        has_verb, has_noun = self.has_verb[verb], self.has_noun[noun]
        masks = {
            Tier.SAME: lambda: has_verb & has_noun & self.single,
            Tier.SUBSET: lambda: has_verb & has_noun & ~self.single,
            Tier.VERB: lambda: has_verb & ~has_noun,
            Tier.NOUN: lambda: has_noun & ~has_verb,
        }
        return np.flatnonzero(masks[tier]())


def distinct_actions(
    verbs: np.ndarray, nouns: np.ndarray, num_nouns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(verbs (P,), nouns (P,), inverse (n,)) of the actions that occur."""
    codes, inverse = np.unique(verbs * num_nouns + nouns, return_inverse=True)
    return codes // num_nouns, codes % num_nouns, inverse


def tier_candidates(
    verbs: np.ndarray, nouns: np.ndarray, exo: ExoLabels, k: int
) -> dict[Tier, np.ndarray]:
    """The first k exo segments of every tier, in their order: tier -> (P, k) int64, -1 padded.

    verbs, nouns: (P,) ego actions.
    """
    found = {tier: np.full((len(verbs), k), -1, np.int64) for tier in TIER_ORDER}
    for verb in np.unique(verbs):
        rows = np.flatnonzero(verbs == verb)
        segments = np.flatnonzero(exo.has_verb[verb])
        shared = exo.has_noun[np.ix_(nouns[rows], segments)]
        single = exo.single[segments]
        found[Tier.SAME][rows] = _first(shared & single, segments, k)
        found[Tier.SUBSET][rows] = _first(shared & ~single, segments, k)
        found[Tier.VERB][rows] = _first(~shared, segments, k)
    for noun in np.unique(nouns):
        rows = np.flatnonzero(nouns == noun)
        segments = np.flatnonzero(exo.has_noun[noun])
        shared = exo.has_verb[np.ix_(verbs[rows], segments)]
        found[Tier.NOUN][rows] = _first(~shared, segments, k)
    return found


def best_tier(found: Mapping[Tier, np.ndarray]) -> np.ndarray:
    """The first tier in TIER_ORDER that has a candidate: (P,) uint8, NONE without any."""
    filled = [found[tier][:, 0] >= 0 for tier in TIER_ORDER]
    return np.select(filled, list(TIER_ORDER), Tier.NONE).astype(np.uint8)


def tier_pairs(verbs: np.ndarray, nouns: np.ndarray, exo: ExoLabels, k: int) -> np.ndarray:
    """Up to k candidates per ego segment, of its best tier: (n, k) int64, -1 padded.

    verbs, nouns: (n,) ego classes. Equal actions get equal candidates.
    """
    action_verbs, action_nouns, inverse = distinct_actions(verbs, nouns, len(exo.has_noun))
    found = tier_candidates(action_verbs, action_nouns, exo, k)
    best = best_tier(found)
    candidates = np.full((len(action_verbs), k), -1, np.int64)
    for tier in TIER_ORDER:
        candidates[best == tier] = found[tier][best == tier]
    return candidates[inverse]


def _membership(classes: ExoClasses, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, m) bool: who has which class; (m,) bool: who has one class and nothing else."""
    has = np.zeros((count, len(classes)), bool)
    single = np.zeros(len(classes), bool)
    for segment, labels in enumerate(classes):
        distinct = set(labels)
        single[segment] = len(distinct) == 1 and None not in distinct
        has[[label for label in distinct if label is not None], segment] = True
    return has, single


def _first(mask: np.ndarray, segments: np.ndarray, k: int) -> np.ndarray:
    """The first k segments (s,) that each row of the mask (r, s) holds: (r, k), -1 padded."""
    rows, columns = np.nonzero(mask)
    starts = np.searchsorted(rows, np.arange(len(mask)))
    place = np.arange(len(rows)) - starts[rows]
    kept = place < k
    first = np.full((len(mask), k), -1, np.int64)
    first[rows[kept], place[kept]] = segments[columns[kept]]
    return first
