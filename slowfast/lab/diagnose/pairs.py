"""Label agreement of the pairs that a run trained on.

Legend: n ego segments, m exo segments, k candidates, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.pairing.label_map import TIER_HEADS
from slowfast.evaluation.metrics import rate
from slowfast.semantics.label_tiers import ExoLabels


class Agreement(NamedTuple):
    """Shares in percent for one head.

    pairs: pairs whose exo segment has the class of the ego segment. chance: the same for random
        pairs, in expectation. most: ego segments whose class any exo segment has.
    """

    pairs: float
    chance: float
    most: float


def pair_agreement(
    indices: NDArray[np.int32], classes: NDArray[np.int64], has: NDArray[np.bool_]
) -> Agreement:
    """Agreement of candidates (n, k), -1 for none, by one head.

    classes: (n,) of the ego segments, -1 for a segment that is left out. has: (K, m), whether an
        exo segment has the class.
    """
    labelled = classes >= 0
    indices, classes = indices[labelled], classes[labelled]
    agrees = np.take_along_axis(has[classes], np.maximum(indices, 0), axis=1)
    return Agreement(
        pairs=rate(agrees[indices >= 0]),
        chance=rate(has.mean(axis=1)[classes]),
        most=rate(np.any(has, axis=1)[classes]),
    )


def training_agreement(trained: EgoExoDataset, labels: ExoLabels) -> dict[str, dict[str, float]]:
    """`Agreement` by head of the pairs that a training draws from, shuffled ones as shuffled.

    labels: of the whole exo list.
    """
    left_out = trained.exo.left_out
    kept = slice(None) if left_out is None else left_out.kept
    agreement = {}
    for task, (head, has) in enumerate(
        zip(TIER_HEADS, (labels.has_verb, labels.has_noun), strict=True)
    ):
        classes = [segment.labels[task] for segment in trained.segments]
        ids = np.array([given[0] if given else -1 for given in classes], np.int64)
        agreement[head] = pair_agreement(trained.pairs.indices, ids, has[:, kept])._asdict()
    return agreement
