"""Labels of a segment or of a clip in it, as tensors.

Legend: T frames of the clip, K classes.
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
