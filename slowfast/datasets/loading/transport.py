"""Transport of a batch from a worker to the training process.

Frames are in shared memory, either in a slot of the ring or in separate memory. Everything
else is small and is sent by value, as arrays: each tensor would need a shared-memory file, a
connection and a file descriptor, and a batch has a dozen tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.loading.shared_ring import (
    SharedRing,
    SlotFrames,
    ring_numbered,
    shared_tensor,
)
from slowfast.datasets.types import Batch, ClipBatch, PairedBatch, PairedSample, SegmentViews


@dataclass
class _PackedView:
    """One view of a batch: the fields without frames, tensors as arrays, and the frames."""

    batch: ClipBatch | SegmentViews
    frames: Tensor | SlotFrames


@dataclass
class Parcel:
    """A batch in transit, one entry per view (ego, exo, other exo).

    ring: number of the ring that holds the frames; None: not in a ring.
    """

    views: list[_PackedView]
    ring: int | None = None

    def pin_memory(self) -> Batch:
        """Copy the batch from its slot to page-locked memory; torch calls this in a thread."""
        return unpack(self).pin_memory()


def pack(samples: Sequence[Any], ring: SharedRing | None, slot: int) -> Parcel:
    """Load the batch of `samples`, into a slot of the ring if one is used."""
    views = enumerate(zip(*map(_views, samples), strict=True))
    packed = [_pack_view(parts, ring, view, slot) for view, parts in views]
    return Parcel(packed, ring.number if ring else None)


def unpack(parcel: Parcel) -> Batch:
    """Unpack the batch; frames in a slot are not copied."""
    ring = None if parcel.ring is None else ring_numbered(parcel.ring)
    views = [_unpack_view(view, ring) for view in parcel.views]
    return PairedBatch(*views) if len(views) > 1 else views[0]


def _views(sample: Any) -> list[Any]:
    return sample.clips() if isinstance(sample, PairedSample) else [sample]


def _pack_view(
    samples: Sequence[Any], ring: SharedRing | None, view: int, slot: int
) -> _PackedView:
    clips = [sample.frames for sample in samples]
    frames = (ring.place(view, slot, clips) if ring else None) or _shared(clips)
    batch: ClipBatch | SegmentViews = (
        replace(samples[0], frames=torch.empty(0))
        if isinstance(samples[0], SegmentViews)
        else collate_clips(samples, with_frames=False)
    )
    return _PackedView(batch.map(Tensor.numpy), frames)


def _unpack_view(packed: _PackedView, ring: SharedRing | None) -> Any:
    frames, batch = packed.frames, packed.batch.map(torch.from_numpy)
    if isinstance(frames, SlotFrames):
        assert ring is not None
        frames = ring.frames(frames)
    return replace(batch, frames=frames[0] if isinstance(batch, SegmentViews) else frames)


def _shared(clips: Sequence[Tensor]) -> Tensor:
    """The clips of N samples, (N, ...), in shared memory."""
    first = clips[0]
    return torch.stack(list(clips), out=shared_tensor((len(clips), *first.shape), first.dtype))
