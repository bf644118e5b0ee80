"""Classification terms: one scalar per task.

Legend: N clips, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

UNLABELLED = -1


def cross_entropy(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> list[Tensor]:
    """Mean cross-entropy of each task over its labelled clips.

    logits: (N, K) per task. labels: (N,) int64 per task, -1 if a clip is unlabelled.
    Without a labelled clip: a zero that keeps the graph.
    """
    return [_cross_entropy(x, y) for x, y in zip(logits, labels, strict=True)]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def multilabel_of_own_set(logits: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
    """`multilabel` for heads of several data sets: a clip only counts for the heads of its set.

    logits: (N, K) per task. targets: multi-hot (N, K) per task, -1 in rows of other sets.
    The sum is divided by all N x K entries, so that every clip has the same weight in each set.
    """
    losses = []
    for x, y in zip(logits, targets, strict=True):
        own = (y >= 0).to(x.dtype)
        losses.append(F.binary_cross_entropy_with_logits(x, y.to(x.dtype).clamp(min=0), own))
    return losses


def multilabel(logits: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
    """Binary cross-entropy with logits of each task, mean over all its N x K entries.

    logits: (N, K) per task. targets: multi-hot (N, K) per task.
    """
    return [
        F.binary_cross_entropy_with_logits(x, y.to(x.dtype))
        for x, y in zip(logits, targets, strict=True)
    ]
