"""Collation of samples into batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from slowfast.datasets.types import (
    Batch,
    ClipBatch,
    ClipSample,
    PairedBatch,
    PairedSample,
    SegmentViews,
)


def collate(samples: Sequence[Any], with_frames: bool = True) -> Batch:
    """Join samples of one kind into a batch. SegmentViews come singly and stay unchanged."""
    first = samples[0]
    if isinstance(first, SegmentViews):
        return first
    if isinstance(first, PairedSample):
        views = zip(*(sample.clips() for sample in samples), strict=True)
        return PairedBatch(*(collate_clips(view, with_frames) for view in views))
    return collate_clips(samples, with_frames)


def collate_clips(samples: Sequence[ClipSample], with_frames: bool = True) -> ClipBatch:
    """N clips as one batch."""
    frames = [sample.frames for sample in samples]
    ego_classes = [sample.ego_classes for sample in samples if sample.ego_classes is not None]
    return ClipBatch(
        frames=torch.stack(frames) if with_frames else torch.empty(0),
        labels=[torch.stack(task) for task in zip(*(s.labels for s in samples), strict=True)],
        indices=torch.tensor([sample.index for sample in samples]),
        text=_stack_optional([sample.text for sample in samples]),
        shares_label=_stack_optional([sample.shares_label for sample in samples]),
        lighting=_stack_optional([sample.lighting for sample in samples]),
        resize=_stack_optional([sample.resize for sample in samples]),
        crop_size=samples[0].crop_size,
        ego_classes=[torch.stack(head) for head in zip(*ego_classes, strict=True)] or None,
    )


def _stack_optional(tensors: Sequence[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(present) if present else None
