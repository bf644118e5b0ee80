"""Types of the data path: segments, samples, batches.

Legend: N clips, T frames of the fast pathway, H W pixels, S crop side, D embedding width,
K classes, U unique frames. Frames are uint8, channels last, BGR, 0..255, until the device
transform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from slowfast.utils.host_tensors import sent_to


@dataclass(frozen=True, slots=True)
class Segment:
    """One annotated action: a span of frames of one video.

    start_frame, stop_frame: frame numbers of the video, both inclusive, as its frame source
        numbers them (EPIC: the file number before FRAME_INDEX_OFFSET, 1-based; LEMMA: 0-based
        position in the video).
    labels: class ids per head (EPIC: verb, noun); one id if the head is single-label, none
        if the segment is unlabelled.
    occurrences: per head (class id, first frame, last frame) of every time that a label holds. A
        training clip then has the labels that hold in one of its frames. (): every label holds
        in the whole segment.
    """

    segment_id: str
    video_id: str
    participant_id: str
    start_frame: int
    stop_frame: int
    narration: str
    labels: tuple[tuple[int, ...], ...]
    occurrences: tuple[tuple[tuple[int, int, int], ...], ...] = ()

    @property
    def num_frames(self) -> int:
        return self.stop_frame - self.start_frame + 1


@dataclass(frozen=True)
class Annotations:
    """A split of a data set without its frames.

    class_names: per head the word of every class, by id; empty if the classes have no names.
    """

    segments: list[Segment]
    class_names: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ImageListAnnotations(Annotations):
    """A split of a data set that names every image file.

    image_paths: video -> (frames,) bytes, its image files in order, relative to the image root.
    """

    image_paths: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class UnionAnnotations(Annotations):
    """Several data sets as one list. parts: as each of them gives its annotations, in order."""

    parts: list[Annotations]


class FrameSource(Protocol):
    """The frames of one video."""

    def read(self, frame_numbers: Sequence[int]) -> Iterable[np.ndarray]:
        """One frame uint8 (H, W, 3), BGR, for each number; each file is decoded once.

        frame_numbers: ascending and distinct. A number outside the video gives the video's
            nearest frame. A frame may be in a buffer that the next one overwrites: copy it
            before asking for the next.
        """
        ...


class FrameStore(Protocol):
    """Location of the frames of a data set."""

    def open(self, segment: Segment) -> FrameSource:
        """The frames of the segment's video; the segment is named in errors."""
        ...

    def check(self, segments: Sequence[Segment]) -> None:
        """Search for every video once. Raises: UserError naming a video that is missing."""
        ...


class SampleKey(NamedTuple):
    """Key that a sampler passes to a data set: a segment and an epoch."""

    epoch: int
    index: int  # type: ignore[assignment]


# Per axis, vertical then horizontal: length of the decoded frame, its length after the resize,
# first pixel of the crop in the resized frame, first pixel of the window in the decoded one.
# Last: 1 if the crop is mirrored left to right.
RESIZE_FIELDS = (
    *("height", "resized_height", "top", "window_top"),
    *("width", "resized_width", "left", "window_left"),
    "flip",
)


@dataclass
class ClipSample:
    """One clip of one segment.

    frames: (T, S, S, 3) uint8 BGR; with `resize`, (T, S+1, S+1, 3) windows of decoded frames, or
        for a test view, whole frames (T, H, W, 3).
    labels: per task, int64 () (-1: unlabelled) or multi-hot float32 (K,).
    text: narration embedding (D,) float32 of norm 1, or None.
    shares_label: () bool, whether an exo clip shares the verb or noun that it is to be aligned by;
        or None.
    lighting: PCA lighting (3,) float32, added to pixels in 0..1, in B, G, R order; or None.
    resize: RESIZE_FIELDS (9,) int64, how the device makes the crop from the windows; or None.
    crop_size: S if frames are whole; None otherwise.
    ego_classes: verbs and nouns of an exo clip as ego classes, multi-hot float32 (K,) each; None
        if clips are not compared by class.
    """

    frames: Tensor
    labels: tuple[Tensor, ...]
    index: int
    text: Tensor | None = None
    shares_label: Tensor | None = None
    lighting: Tensor | None = None
    resize: Tensor | None = None
    crop_size: int | None = None
    ego_classes: tuple[Tensor, ...] | None = None


@dataclass
class PairedSample:
    """An ego clip and one of its exo pseudo-pairs.

    other_exo: a second exo clip: an unpaired one (SUML.EXO_STREAM), or the partner by noun if
        `exo` is the one by verb (SUML.ALIGN.KIND factorised); or None.
    """

    ego: ClipSample
    exo: ClipSample
    other_exo: ClipSample | None = None

    def clips(self) -> list[ClipSample]:
        """The clips that are present, in `PairedBatch` order."""
        given = [self.ego, self.exo]
        return given if self.other_exo is None else [*given, self.other_exo]


@dataclass
class ClipBatch:
    """N clips of one view.

    frames: (N, T, S, S, 3) uint8 BGR; with `resize`, (N, T, S+1, S+1, 3) or (N, T, H, W, 3).
    labels: per task, int64 (N,) or multi-hot float32 (N, K).
    indices: (N,) int64, positions in the data set.
    text: (N, D) float32 rows of norm 1, or None.
    shares_label: (N,) bool as in ClipSample, or None.
    lighting: (N, 3) float32 as in ClipSample, or None.
    resize: (N, 9) int64 as in ClipSample, or None.
    crop_size: as in ClipSample.
    ego_classes: float32 (N, K) each as in ClipSample, or None.
    """

    frames: Tensor
    labels: list[Tensor]
    indices: Tensor
    text: Tensor | None = None
    shares_label: Tensor | None = None
    lighting: Tensor | None = None
    resize: Tensor | None = None
    crop_size: int | None = None
    ego_classes: list[Tensor] | None = None

    def map(self, change: Callable[[Tensor], Any]) -> ClipBatch:
        """Apply a function to every tensor."""

        def optional(tensor: Tensor | None) -> Any:
            return None if tensor is None else change(tensor)

        return replace(
            self,
            frames=change(self.frames),
            labels=[change(label) for label in self.labels],
            indices=change(self.indices),
            text=optional(self.text),
            shares_label=optional(self.shares_label),
            lighting=optional(self.lighting),
            resize=optional(self.resize),
            ego_classes=None if self.ego_classes is None else [*map(change, self.ego_classes)],
        )

    def to(self, device: torch.device) -> ClipBatch:
        """Move to the device all tensors except the indices."""
        indices = self.indices
        return self.map(lambda t: t if t is indices else t.to(device, non_blocking=True))

    def pin_memory(self) -> ClipBatch:
        return self.map(Tensor.pin_memory)


@dataclass
class PairedBatch:
    """N ego clips, each with an exo clip: row i of one belongs to row i of the other.

    other_exo: N further exo clips as in PairedSample, or None.
    """

    ego: ClipBatch
    exo: ClipBatch
    other_exo: ClipBatch | None = None

    def to(self, device: torch.device) -> PairedBatch:
        return PairedBatch(*(clips.to(device) for clips in self.clips()))

    def pin_memory(self) -> PairedBatch:
        return PairedBatch(*(clips.pin_memory() for clips in self.clips()))

    def clips(self) -> list[ClipBatch]:
        """The batches that are present, in the order of the fields."""
        given = [self.ego, self.exo]
        return given if self.other_exo is None else [*given, self.other_exo]


class View(NamedTuple):
    """One test view of a segment: its frames, its crop, and how often it counts.

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
    """All test views of one segment: each frame decoded once.

    frames: (U, H, W, 3) uint8 BGR; as decoded, or of the size `resized`.
    labels: as in ClipSample.
    crop_size: S.
    resized: height and width, short side S, that frames are resized to before views are cropped.
        None: the frames already have that size.
    """

    frames: Tensor
    views: list[View]
    labels: tuple[Tensor, ...]
    index: int
    crop_size: int
    resized: tuple[int, int] | None = None

    def map(self, change: Callable[[Tensor], Any]) -> SegmentViews:
        """Apply a function to every tensor."""
        labels = tuple(change(label) for label in self.labels)
        return replace(self, frames=change(self.frames), labels=labels)

    def to(self, device: torch.device) -> SegmentViews:
        """Move the frames to the device, where the views are cut."""
        return replace(self, frames=self.frames.to(device, non_blocking=True))

    def pin_memory(self) -> SegmentViews:
        return replace(self, frames=self.frames.pin_memory())

    def batch(self, start: int, stop: int) -> ClipBatch:
        """Views start..stop-1: crops, or whole frames that are still to be resized."""
        views, device = self.views[start:stop], self.frames.device
        positions = sent_to(device, torch.tensor([view.frame_positions for view in views]))
        indices = torch.full((len(views),), self.index)
        height, width = self.frames.shape[1:3]
        if self.resized in (None, (height, width)):
            crops = [
                self._crop(view).index_select(0, row)
                for view, row in zip(views, positions, strict=True)
            ]
            return ClipBatch(torch.stack(crops), [], indices)
        h, w = self.resized
        resize = [(height, h, view.top, 0, width, w, view.left, 0, 0) for view in views]
        return ClipBatch(
            self.frames[positions],
            [],
            indices,
            resize=sent_to(device, torch.tensor(resize)),
            crop_size=self.crop_size,
        )

    def _crop(self, view: View) -> Tensor:
        size = self.crop_size
        return self.frames[:, view.top : view.top + size, view.left : view.left + size]


Batch = ClipBatch | PairedBatch | SegmentViews
