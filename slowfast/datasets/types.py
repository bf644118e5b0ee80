"""What flows through the data path: segments, samples, batches.

Legend: N clips, T frames of the fast pathway, H W pixels, S crop side, D embedding width,
K classes, U unique frames. Frames are uint8, channels last, BGR, 0..255, until the device
transform.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Segment:
    """One annotated action: a span of frames of one video.

    start_frame, stop_frame: frame numbers of the video, both inclusive, as its frame source
        numbers them (EPIC: the file number before FRAME_INDEX_OFFSET, 1-based; LEMMA: 0-based
        position in the video).
    labels: class ids per task (verb, noun); one id where the task is single-label, none where
        the segment is unlabelled.
    """

    segment_id: str
    video_id: str
    participant_id: str
    start_frame: int
    stop_frame: int
    narration: str
    labels: tuple[tuple[int, ...], ...]

    @property
    def num_frames(self) -> int:
        return self.stop_frame - self.start_frame + 1


@dataclass(frozen=True)
class Annotations:
    """What is known of a data set's split without its frames.

    class_names: per task (verb, noun) the word of every class, by id.
    """

    segments: list[Segment]
    class_names: tuple[tuple[str, ...], ...]


class FrameSource(Protocol):
    """The frames of one video."""

    def read(self, frame_numbers: Sequence[int]) -> Iterable[np.ndarray]:
        """One frame uint8 (H, W, 3), BGR, for each number; each file is decoded once.

        frame_numbers: ascending and distinct. A number outside the video gives the video's
            nearest frame. A frame may lie in a buffer that the next one overwrites: copy out
            of it before asking for the next.
        """
        ...


class FrameStore(Protocol):
    """Where the frames of a data set lie."""

    def open(self, segment: Segment) -> FrameSource:
        """The frames of the segment's video; the segment is named in errors."""
        ...

    def check(self, segments: Sequence[Segment]) -> None:
        """Look for every video once. Raises: UserError naming a video that is missing."""
        ...


class SampleKey(NamedTuple):
    """What a sampler hands to a data set: which segment, in which epoch."""

    epoch: int
    index: int  # type: ignore[assignment]


# Per axis, vertical then horizontal: length of the decoded frame, its length after the resize,
# first pixel of the crop in the resized frame, first pixel of the window in the decoded one.
# Last: 1 where the crop is mirrored left to right.
RESIZE_FIELDS = (
    *("height", "resized_height", "top", "window_top"),
    *("width", "resized_width", "left", "window_left"),
    "flip",
)


@dataclass
class ClipSample:
    """One clip of one segment.

    frames: (T, S, S, 3) uint8 BGR; with `resize`, (T, S+1, S+1, 3) windows of decoded frames.
    labels: per task, int64 () (-1: unlabelled) or multi-hot float32 (K,).
    text: narration embedding (D,) float32 of norm 1, or None.
    lighting: PCA lighting (3,) float32, added to pixels in 0..1, in B, G, R order; or None.
    resize: RESIZE_FIELDS (9,) int64, how the device makes the crop from the windows; or None.
    """

    frames: Tensor
    labels: tuple[Tensor, ...]
    index: int
    text: Tensor | None = None
    lighting: Tensor | None = None
    resize: Tensor | None = None


@dataclass
class PairedSample:
    """An ego clip and one of its exo pseudo-pairs."""

    ego: ClipSample
    exo: ClipSample


@dataclass
class ClipBatch:
    """N clips of one view.

    frames: (N, T, S, S, 3) uint8 BGR; with `resize`, (N, T, S+1, S+1, 3).
    labels: per task, int64 (N,) or multi-hot float32 (N, K).
    indices: (N,) int64, positions in the data set.
    text: (N, D) float32 rows of norm 1, or None.
    lighting: (N, 3) float32 as in ClipSample, or None.
    resize: (N, 9) int64 as in ClipSample, or None.
    """

    frames: Tensor
    labels: list[Tensor]
    indices: Tensor
    text: Tensor | None = None
    lighting: Tensor | None = None
    resize: Tensor | None = None

    def to(self, device: torch.device) -> ClipBatch:
        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return ClipBatch(
            frames=self.frames.to(device, non_blocking=True),
            labels=[label.to(device, non_blocking=True) for label in self.labels],
            indices=self.indices,
            text=move(self.text),
            lighting=move(self.lighting),
            resize=move(self.resize),
        )

    def pin_memory(self) -> ClipBatch:
        def pin(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.pin_memory()

        return ClipBatch(
            frames=self.frames.pin_memory(),
            labels=[label.pin_memory() for label in self.labels],
            indices=self.indices,
            text=pin(self.text),
            lighting=pin(self.lighting),
            resize=pin(self.resize),
        )


@dataclass
class PairedBatch:
    """N ego clips, each with an exo clip: row i of one belongs to row i of the other."""

    ego: ClipBatch
    exo: ClipBatch

    def to(self, device: torch.device) -> PairedBatch:
        return PairedBatch(self.ego.to(device), self.exo.to(device))

    def pin_memory(self) -> PairedBatch:
        return PairedBatch(self.ego.pin_memory(), self.exo.pin_memory())


class View(NamedTuple):
    """One test view of a segment: which of its frames, which crop, how often it counts.

    frame_positions: T positions among the segment's unique frames.
    top, left: corner of the crop, pixels of the resized frames.
    weight: number of the views v that this one stands for (equal views are computed once).
    """

    frame_positions: tuple[int, ...]
    top: int
    left: int
    weight: int


@dataclass
class SegmentViews:
    """All test views of one segment: each frame decoded and resized once.

    frames: (U, H, W, 3) uint8 BGR, short side S.
    labels: as in ClipSample.
    crop_size: S.
    """

    frames: Tensor
    views: list[View]
    labels: tuple[Tensor, ...]
    index: int
    crop_size: int

    def to(self, device: torch.device) -> SegmentViews:
        """With the frames on the device, where views are cut out of them."""
        return replace(self, frames=self.frames.to(device, non_blocking=True))

    def pin_memory(self) -> SegmentViews:
        return replace(self, frames=self.frames.pin_memory())

    def clips(self, start: int, stop: int) -> Tensor:
        """Views start..stop-1 cut out of the frames: (stop - start, T, S, S, 3) uint8."""
        views, size = self.views[start:stop], self.crop_size
        positions = torch.tensor([view.frame_positions for view in views]).to(self.frames.device)
        return torch.stack(
            [
                self.frames[:, v.top : v.top + size, v.left : v.left + size].index_select(0, row)
                for v, row in zip(views, positions, strict=True)
            ]
        )
