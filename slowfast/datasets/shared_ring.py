"""Frames of batches in shared memory that workers fill in turn, again and again.

Fresh shared memory costs a page fault for every 4 KiB, in the worker and in the training process,
which is as long as half of the decoding. Here a worker decodes into a slot that is mapped already;
only the slot's number travels.

Legend: N clips of a batch, T frames, S side of what leaves the worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import ClipBatch, PairedBatch


@dataclass
class RingBatch:
    """A batch on its way to the training process, without its frames.

    slot: of the ring, where they lie.
    """

    batch: ClipBatch | PairedBatch
    slot: int


class SharedRing:
    """Slots for the frames of whole batches.

    A slot is free again when the batch that was given out from it is no longer in use. With as
    many slots as there are batches under way, and one more for the batch in use, batch b may
    take slot b modulo their number without asking.

    clip_shapes: per view of a batch (ego, exo), of the frames of one clip: (T, S, S, 3).
    """

    def __init__(
        self, clip_shapes: Sequence[tuple[int, ...]], clips_per_batch: int, slots: int
    ) -> None:
        self.slots = slots
        self._views = [
            shared_tensor((slots, clips_per_batch, *shape), torch.uint8) for shape in clip_shapes
        ]

    def frames(self, slot: int, count: int) -> list[Tensor]:
        """The first `count` clips of a slot: per view (count, T, S, S, 3) uint8."""
        return [view[slot, :count] for view in self._views]

    def load(self, dataset: Any, keys: Sequence[Any], slot: int) -> list[Any]:
        """The samples `keys`, their frames written into the slot. Runs in a worker."""
        for view, frames in zip(clip_datasets(dataset), self.frames(slot, len(keys)), strict=True):
            view.allocate = partial(_next_clip, iter(frames.numpy()))
        return [dataset[key] for key in keys]

    def attach(self, filled: RingBatch) -> ClipBatch | PairedBatch:
        """The batch with its frames, which lie in the slot."""
        views = clip_batches(filled.batch)
        for view, frames in zip(
            views, self.frames(filled.slot, len(views[0].indices)), strict=True
        ):
            view.frames = frames
        return filled.batch


def clip_datasets(dataset: Any) -> list[SegmentDataset]:
    """The data sets whose clips make up a sample, one per view; none where that is not known."""
    if isinstance(dataset, EgoExoDataset):
        return [dataset.ego, dataset.exo]
    return [dataset] if isinstance(dataset, SegmentDataset) else []


def clip_batches(batch: ClipBatch | PairedBatch) -> list[ClipBatch]:
    """The clips of a batch, one entry per view."""
    return [batch] if isinstance(batch, ClipBatch) else [batch.ego, batch.exo]


def _next_clip(clips: Iterator[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return next(clips).reshape(shape)


def shared_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor in shared memory."""
    size = torch.Size(shape).numel() * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(size)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
