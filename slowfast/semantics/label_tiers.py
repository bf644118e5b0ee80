"""Pseudo-pairs by label overlap: the published tiers, for all actions at once.

An exo segment that has an ego segment's verb or noun is in exactly one of its tiers:

- same: the exo segment has exactly this verb and exactly this noun;
- subset: it has both, and more;
- verb: it has the verb, not the noun;
- noun: it has the noun, not the verb.

An exo label without an ego class counts as an extra label that matches nothing.

Legend: P distinct ego actions (verb, noun), m exo segments, k candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from slowfast.datasets.pairing.ego_labels import multi_hot
from slowfast.datasets.pairing.label_map import ExoClasses
from slowfast.datasets.pairing.pairs import Tier

# Candidates come from the first of these tiers that is not empty.
TIER_ORDER = (Tier.SAME, Tier.SUBSET, Tier.VERB, Tier.NOUN)

# Exo segments searched at a time; most rows find their k in the first block.
_BLOCK_SEGMENTS = 1024


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

    @classmethod
    def joined(cls, parts: Sequence[ExoLabels]) -> ExoLabels:
        """The labels of several lists, one after the other, as those of one."""
        whole = cls((), (), len(parts[0].has_verb), len(parts[0].has_noun))
        whole.has_verb = np.concatenate([part.has_verb for part in parts], axis=1)
        whole.has_noun = np.concatenate([part.has_noun for part in parts], axis=1)
        whole.single = np.concatenate([part.single for part in parts])
        return whole

    def __len__(self) -> int:
        return len(self.single)

    def tier_of(self, verbs: np.ndarray, nouns: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Tier (n, k) uint8 of pairs of verbs, nouns (n,) and exo segments (n, k), -1: none."""
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
    """Distinct actions: verbs (P,), nouns (P,), and the inverse index (n,)."""
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
        single = exo.single[segments]
        has = exo.has_noun, nouns[rows]
        found[Tier.SAME][rows] = _first(*has, True, segments[single], k)
        found[Tier.SUBSET][rows] = _first(*has, True, segments[~single], k)
        found[Tier.VERB][rows] = _first(*has, False, segments, k)
    for noun in np.unique(nouns):
        rows = np.flatnonzero(nouns == noun)
        segments = np.flatnonzero(exo.has_noun[noun])
        found[Tier.NOUN][rows] = _first(exo.has_verb, verbs[rows], False, segments, k)
    return found


def best_tier(found: Mapping[Tier, np.ndarray]) -> np.ndarray:
    """The first tier in TIER_ORDER that has a candidate: (P,) uint8, NONE if there is none."""
    filled = [found[tier][:, 0] >= 0 for tier in TIER_ORDER]
    return np.select(filled, list(TIER_ORDER), Tier.NONE).astype(np.uint8)


def tier_pairs(verbs: np.ndarray, nouns: np.ndarray, exo: ExoLabels, k: int) -> np.ndarray:
    """Up to k candidates per ego segment, from its best tier: (n, k) int64, -1 padded.

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
    """Class membership (count, m) bool, and segments with exactly one class (m,) bool."""
    distinct = [set(labels) for labels in classes]
    single = np.array([len(labels) == 1 and None not in labels for labels in distinct], bool)
    return np.ascontiguousarray(multi_hot(classes, count).T), single


def _first(
    has: np.ndarray, classes: np.ndarray, wanted: bool, segments: np.ndarray, k: int
) -> np.ndarray:
    """The first k of the segments (s,) that have, or have not, each of the classes (r,).

    has: (classes, m) bool. wanted: select segments with the class, or without it.
    Returns: (r, k), -1 padded.
    """
    first = np.full((len(classes), k), -1, np.int64)
    count = np.zeros(len(classes), np.int64)
    open_rows = np.arange(len(classes))
    for start in range(0, len(segments), _BLOCK_SEGMENTS):
        part = segments[start : start + _BLOCK_SEGMENTS]
        rows, columns = np.nonzero(has[np.ix_(classes[open_rows], part)] == wanted)
        starts = np.searchsorted(rows, np.arange(len(open_rows)))
        place = np.arange(len(rows)) - starts[rows] + count[open_rows[rows]]
        kept = place < k
        first[open_rows[rows[kept]], place[kept]] = part[columns[kept]]
        count[open_rows] += np.bincount(rows, minlength=len(open_rows))
        open_rows = open_rows[count[open_rows] < k]
        if not len(open_rows):
            break
    return first
