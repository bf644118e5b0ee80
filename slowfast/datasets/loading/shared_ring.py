"""Frames of batches in memory that is used again and again, shared with the workers.

Fresh memory costs a page fault for every 4 KiB, and fresh shared memory one in the worker and one
in the training process, which is as long as half of the decoding. Here a worker decodes into a
slot that is mapped already; only the slot's number travels.

Legend: N clips of a batch, T frames, S side of what leaves the worker, U unique frames of a
segment, H W their size.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.segment_dataset import SegmentDataset, new_frames
from slowfast.datasets.selection import Selection


class SlotFrames(NamedTuple):
    """Frames of one view of a batch, in a slot of the ring.

    shape: (N, T, S, S, 3), or of a segment (1, U, H, W, 3).
    """

    view: int
    slot: int
    shape: tuple[int, ...]


# By number, for a parcel that is all that torch's page-locking thread is given.
_RINGS: weakref.WeakValueDictionary[int, SharedRing] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class SharedRing:
    """Slots for the frames of whole batches.

    A slot is free again when the batch that was given out from it is no longer in use. With as
    many slots as there are batches under way, and one more for the batch in use, batch b may
    take slot b modulo their number without asking.

    sizes: per view of a batch (ego, exo, other exo), bytes of a slot. Memory that is never written
        to is never taken from the system, so that they may be generous.
    """

    def __init__(self, sizes: Sequence[int], slots: int) -> None:
        self.slots = slots
        self.number = next(_numbers)
        _RINGS[self.number] = self
        # One slot alone is for the process itself.
        new = shared_tensor if slots > 1 else torch.empty
        self._views = [new((slots, size), dtype=torch.uint8) for size in sizes]

    def load(self, dataset: Any, keys: Sequence[Any], slot: int) -> list[Any]:
        """The samples `keys`, their frames written into the slot as far as it reaches."""
        views = clip_datasets(dataset)
        for view, memory in zip(views, self._views, strict=True):
            view.allocate = _Region(memory[slot].numpy())
        try:
            return [dataset[key] for key in keys]
        finally:
            for view in views:
                view.allocate = new_frames

    def place(self, view: int, slot: int, clips: Sequence[Tensor]) -> SlotFrames | None:
        """Where the frames of a view's N clips lie as one; None where they did not fit."""
        memory, first = self._views[view][slot], clips[0]
        if first.data_ptr() != memory.data_ptr():
            return None
        return SlotFrames(view, slot, (len(clips), *first.shape))

    def frames(self, place: SlotFrames) -> Tensor:
        """What lies there: uint8 of `place.shape`."""
        memory = self._views[place.view][place.slot]
        return memory[: math.prod(place.shape)].view(place.shape)


class _Region:
    """Hands out arrays in the memory of a slot, one behind the other, and fresh ones beyond."""

    def __init__(self, memory: np.ndarray) -> None:
        self._free = memory

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        if size > len(self._free):
            return new_frames(shape)
        taken, self._free = self._free[:size], self._free[size:]
        return taken.reshape(shape)


def ring_numbered(number: int) -> SharedRing:
    """A ring of this process that is in use."""
    return _RINGS[number]


def ring_for(dataset: Any, clips_per_batch: int, slots: int) -> SharedRing | None:
    """A ring for a data set's batches; None where their size is not known."""
    views = clip_datasets(dataset)
    if not views or clips_per_batch == 0:
        return None
    return SharedRing([clips_per_batch * view.item_bytes() for view in views], slots)


def clip_datasets(dataset: Any) -> list[SegmentDataset]:
    """The data sets whose clips make up a sample, one per view; none where that is not known."""
    if isinstance(dataset, Selection):
        return clip_datasets(dataset.dataset)
    if isinstance(dataset, EgoExoDataset):
        return dataset.clip_sources()
    return [dataset] if isinstance(dataset, SegmentDataset) else []


def shared_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor in shared memory."""
    size = torch.Size(shape).numel() * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(size)
    return torch.empty(0, dtype=dtype).set_(storage).view(shape)
