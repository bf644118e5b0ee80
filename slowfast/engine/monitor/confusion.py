"""Confusion matrices of a validation or a test as pictures, if TENSORBOARD enables them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.engine.monitor.pictures import confusion_picture


def draws_confusion(cfg: CfgNode) -> bool:
    return bool(cfg.TENSORBOARD.ENABLE and cfg.TENSORBOARD.CONFUSION_MATRIX.ENABLE)


def confusion_pictures(
    counts: Mapping[str, NDArray[np.int64]], names: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """(head, picture) of every head that has a labelled clip.

    counts: per head (K, K), a row per true class. names: per head of its classes; a head without
    them is labelled with numbers.
    """
    for head, matrix in counts.items():
        if matrix.any():
            numbers = [str(k) for k in range(len(matrix))]
            yield head, confusion_picture(matrix, names.get(head, numbers))
