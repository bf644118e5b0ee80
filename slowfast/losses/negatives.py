"""Detection of clips with the same meaning, which must not be used as negatives of each other.

Legend: n clips of this process, M clips of all processes, K classes, D width.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Largest cosine distance of two embeddings of the same sentence, which differ only by rounding.
_SAME_TEXT = 1 - 1e-6


def same_classes(labels: Iterable[Tensor], labels_all: Iterable[Tensor]) -> Tensor:
    """Whether two clips agree in every task, (n, M) bool.

    Per task either int64 (n,) and (M,), which agree if they are equal and labelled (not -1), or
    multi-hot (n, K) and (M, K), which agree if they share a class.
    """
    agree = [_agree(y, y_all) for y, y_all in zip(labels, labels_all, strict=True)]
    return torch.stack(agree).all(0)


def class_overlap(labels: Iterable[Tensor], labels_all: Iterable[Tensor]) -> Tensor:
    """Share of tasks in which two clips have the same class, (n, M) float32 in 0..1; inputs as for
    `same_classes`."""
    agree = [_agree(y, y_all) for y, y_all in zip(labels, labels_all, strict=True)]
    return torch.stack(agree).float().mean(0)


def _agree(labels: Tensor, labels_all: Tensor) -> Tensor:
    if labels.ndim == 2:
        return labels.float() @ labels_all.float().T > 0
    return (labels[:, None] == labels_all) & (labels[:, None] >= 0)


def same_text(d: Tensor, d_all: Tensor) -> Tensor:
    """Whether two narrations are the same sentence, (n, M) bool: a cosine above 1 - 1e-6.

    d, d_all: (n, D), (M, D) embeddings, rows of norm 1.
    """
    # float64, because the error of lower precision (TF32) exceeds the limit.
    return d.double() @ d_all.double().T > _SAME_TEXT
