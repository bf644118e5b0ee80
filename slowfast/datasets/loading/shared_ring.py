"""Reusable shared memory for the frames of batches.

New memory costs a page fault for every 4 KiB; new shared memory costs one in the worker and one
in the training process, which takes half as long as decoding. Here a worker decodes into a slot
that is already mapped, and sends only the slot's number. The workers must be forked.

Legend: N clips of a batch, T frames, S side of what leaves the worker, U unique frames of a
segment, H W their size.
"""

from __future__ import annotations

import itertools
import math
import mmap
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

    shape: (N, T, S, S, 3), or (1, U, H, W, 3) for a segment.
    """

    view: int
    slot: int
    shape: tuple[int, ...]


# Rings by number: torch's page-locking thread gets only the parcel, which names its ring by number.
_RINGS: weakref.WeakValueDictionary[int, SharedRing] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class SharedRing:
    """Slots for the frames of whole batches.

    A slot is free again once the batch in it is no longer in use. With one slot for each batch
    in progress, and one more for the batch in use, batch b can take slot b modulo their number
    without synchronisation.

    sizes: per view of a batch (ego, exo, other exo), bytes of a slot. They may be generous: the
        system allocates a page only when it is first written.
    """

    def __init__(self, sizes: Sequence[int], slots: int) -> None:
        self.slots = slots
        self.number = next(_numbers)
        _RINGS[self.number] = self
        # A single slot means that this process loads the batches itself.
        self._views = [
            _inherited_memory(slots, size) if slots > 1 else torch.empty(1, size, dtype=torch.uint8)
            for size in sizes
        ]

    def load(self, dataset: Any, keys: Sequence[Any], slot: int) -> list[Any]:
        """The samples `keys`, their frames written into the slot while they fit."""
        views = clip_datasets(dataset)
        for view, memory in zip(views, self._views, strict=True):
            view.allocate = _Region(memory[slot].numpy())
        try:
            return [dataset[key] for key in keys]
        finally:
            for view in views:
                view.allocate = new_frames

    def place(self, view: int, slot: int, clips: Sequence[Tensor]) -> SlotFrames | None:
        """Location of the frames of a view's N clips in the slot; None if they did not fit."""
        memory, first = self._views[view][slot], clips[0]
        if first.data_ptr() != memory.data_ptr():
            return None
        return SlotFrames(view, slot, (len(clips), *first.shape))

    def frames(self, place: SlotFrames) -> Tensor:
        """The frames at a place: uint8 of `place.shape`."""
        memory = self._views[place.view][place.slot]
        return memory[: math.prod(place.shape)].view(place.shape)


class _Region:
    """Allocator of consecutive arrays in a slot; uses new memory once the slot is full."""

    def __init__(self, memory: np.ndarray) -> None:
        self._free = memory

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        if size > len(self._free):
            return new_frames(shape)
        taken, self._free = self._free[:size], self._free[size:]
        return taken.reshape(shape)


def ring_numbered(number: int) -> SharedRing:
    """The ring of that number, which this process must still use."""
    return _RINGS[number]


def ring_for(dataset: Any, clips_per_batch: int, slots: int) -> SharedRing | None:
    """Create a ring for a data set's batches; None if their size is unknown."""
    sizes = batch_bytes(dataset, clips_per_batch)
    return SharedRing(sizes, slots) if sum(sizes) else None


def batch_bytes(dataset: Any, clips_per_batch: int) -> list[int]:
    """Bytes of the frames of a batch, per view, as an upper bound; empty if unknown."""
    if clips_per_batch == 0:
        return []
    return [clips_per_batch * view.item_bytes() for view in clip_datasets(dataset)]


def clip_datasets(dataset: Any) -> list[SegmentDataset]:
    """The data sets whose clips make up a sample, one per view; empty if unknown."""
    if isinstance(dataset, Selection):
        return clip_datasets(dataset.dataset)
    if isinstance(dataset, EgoExoDataset):
        return dataset.clip_sources()
    return [dataset] if isinstance(dataset, SegmentDataset) else []


def _inherited_memory(slots: int, size: int) -> Tensor:
    """Zeros (slots, size) uint8 that this process shares with those that it forks later.

    Unlike torch's shared memory it is not in /dev/shm, which is 64 MB in many containers.
    """
    memory = mmap.mmap(-1, slots * size)
    return torch.frombuffer(memory, dtype=torch.uint8).view(slots, size)
