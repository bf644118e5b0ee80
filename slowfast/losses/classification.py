"""Classification terms: one scalar per head.

Legend: N clips, K classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: list[Tensor], labels: list[Tensor]) -> list[Tensor]:
    """Mean cross-entropy per head over the labelled clips.

    logits: (N, K) per head; labels: (N,) int64 per head, -1 where a clip is unlabelled. A batch
    without labels gives a zero that keeps the graph.
    """
    return [_cross_entropy(x, y) for x, y in zip(logits, labels, strict=True)]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def multilabel(logits: list[Tensor], targets: list[Tensor]) -> list[Tensor]:
    """Binary cross-entropy with logits per head, mean over all entries of (N, K).

    targets: multi-hot (N, K) per head.
    """
    return [
        F.binary_cross_entropy_with_logits(x, y.to(x.dtype))
        for x, y in zip(logits, targets, strict=True)
    ]
