"""Labels of segments or of a clip in one, as tensors.

Legend: n segments, T frames of the clip, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slowfast.config.heads import HeadSpec
from slowfast.datasets.types import Segment


def encode_labels(
    labels: Sequence[tuple[int, ...]], heads: Sequence[HeadSpec]
) -> tuple[Tensor, ...]:
    """Per head the class id () int64, -1 without one, or the multi-hot vector (K,)."""
    return tuple(
        _multi_hot(classes, head.num_classes)
        if head.multi_label
        else torch.tensor(classes[0] if classes else -1)
        for head, classes in zip(heads, labels, strict=True)
    )


def label_table(labels: Sequence[tuple[int, ...]], head: HeadSpec) -> Tensor:
    """Labels of n segments for one head: (n,) int64 or (n, K); row k as from `encode_labels`."""
    if not head.multi_label:
        return torch.tensor([ids[0] if ids else -1 for ids in labels], dtype=torch.int64)
    table = torch.zeros(len(labels), head.num_classes)
    places = [(row, class_id) for row, ids in enumerate(labels) for class_id in ids]
    rows, classes = torch.tensor(places, dtype=torch.int64).reshape(-1, 2).unbind(1)
    table[rows, classes] = 1.0
    return table


def labels_in(segment: Segment, numbers: np.ndarray) -> list[tuple[int, ...]]:
    """Per head the distinct labels that hold in one of the frames `numbers` (T,)."""
    return [
        tuple(
            dict.fromkeys(
                label
                for label, first, last in occurrences
                if np.any((numbers >= first) & (numbers <= last))
            )
        )
        for occurrences in segment.occurrences
    ]


def _multi_hot(ids: tuple[int, ...], num_classes: int) -> Tensor:
    vector = torch.zeros(num_classes)
    vector[list(ids)] = 1.0
    return vector
