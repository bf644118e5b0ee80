"""Clips of annotated segments, of any data set: train, validation and test.

Legend: T frames of the clip, S crop side, U unique frames, h w pixels after the resize,
K classes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from slowfast.datasets.clips.labels import encode_labels, labels_in
from slowfast.datasets.clips.settings import ClipSettings
from slowfast.datasets.clips.transforms import (
    Cut,
    FinishedCrop,
    Placement,
    SourceWindow,
    draw_lighting,
    resize,
    resized_size,
)
from slowfast.datasets.clips.views import merge_views
from slowfast.datasets.partial import LeftOut
from slowfast.datasets.types import (
    ClipSample,
    FrameStore,
    SampleKey,
    Segment,
    SegmentViews,
)
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream, generator

SPLITS = ("train", "val", "test")

# Largest ratio of decoded to resized pixels at which test frames are resized on the device. Above
# it, moving the decoded frames costs more than resizing them in the worker.
_MAX_DECODED_TO_RESIZED = 2


class SegmentDataset(Dataset[ClipSample | SegmentViews]):
    """One item per segment; keys are positions or SampleKeys.

    train: a ClipSample at a random position, with random scale, crop and flip.
    val: the ClipSample of the validation view.
    test: the SegmentViews of the segment.

    allocate: shape -> array for the frames of the next clip; a loader may replace it.
    clip_shape: shape of the frames of a training or validation clip.
    digests: of the annotations, by the name of the input (`datasets.identity`).
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        split: str,
        frames: FrameStore,
        settings: ClipSettings,
        digests: Mapping[str, str] | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, not one of {SPLITS}")
        self.segments = segments
        self.split = split
        self.frames = frames
        self.settings = settings
        self.digests = dict(digests or {})
        self.left_out = left_out
        self.sampling = settings.sampling
        self.geometry = settings.geometry
        self.views = settings.views
        self.transform = settings.transform
        self.allocate: Callable[[tuple[int, ...]], np.ndarray] = new_frames
        random_crop = split == "train" or settings.random_in_validation
        side = self.geometry.train_crop if random_crop else self.geometry.test_crop
        side += 1 if settings.resize_on_device else 0
        self.clip_shape = (self.sampling.num_frames, side, side, 3)

    def drawing_from(self, stream: Stream) -> SegmentDataset:
        """The same segments, with random numbers from another stream."""
        other = copy.copy(self)
        other.settings = replace(self.settings, stream=stream)
        return other

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, key: int | SampleKey) -> ClipSample | SegmentViews:
        sample = key if isinstance(key, SampleKey) else SampleKey(0, key)
        if self.split == "test":
            return self.segment_views(sample.index)
        return self.clip_sample(sample)

    def clip_sample(self, key: SampleKey) -> ClipSample:
        """The random clip of a training set, the validation clip of any other."""
        if self.split == "train":
            return self.train_clip(key)
        return self.validation_clip(key)

    def train_clip(self, key: SampleKey) -> ClipSample:
        """A random clip of one segment."""
        rng = self._generator(key)
        segment = self.segments[key.index]
        numbers = self.sampling.train(segment, rng)
        sample = self._sample(key.index, numbers, lambda h, w: self.geometry.train(h, w, rng))
        if segment.occurrences:
            sample.labels = encode_labels(labels_in(segment, numbers), self.settings.heads)
        if self.settings.lighting_std > 0:
            sample.lighting = draw_lighting(self.settings.lighting_std, rng)
        return sample

    def frameless_clip(self, index: int) -> ClipSample:
        """The annotation of one segment, without its frames."""
        return ClipSample(torch.empty(0, dtype=torch.uint8), self.labels(index), index)

    def validation_clip(self, key: SampleKey) -> ClipSample:
        """The validation view of one segment."""
        numbers = self.sampling.validation(self.segments[key.index])
        if not self.settings.random_in_validation:
            return self._sample(key.index, numbers, self.geometry.test)
        rng = self._generator(key)
        return self._sample(key.index, numbers, lambda h, w: self.geometry.train(h, w, rng))

    def test_clip(self, index: int, view: int) -> ClipSample:
        """One test view alone, 0 <= view < len(views)."""
        if not 0 <= view < len(self.views):
            raise IndexError(f"view {view} of {len(self.views)}")
        clip, position = divmod(view, self.views.spatial)
        numbers = self.sampling.views(self.segments[index], self.views.temporal)[[clip]]
        crop = self.views.crops[position]
        batch = self._views(index, numbers, (crop,)).batch(0, 1)
        return ClipSample(
            batch.frames[0],
            self.labels(index),
            index,
            resize=None if batch.resize is None else batch.resize[0],
            crop_size=batch.crop_size,
        )

    def segment_views(self, index: int) -> SegmentViews:
        """All test views of one segment; each of its frames is decoded once."""
        numbers = self.sampling.views(self.segments[index], self.views.temporal)
        return self._views(index, numbers, self.views.crops)

    def item_bytes(self) -> int:
        """Bytes of the frames of one item: of a clip, or an upper bound for a test segment.

        Reads a frame of the first segment if the size of frames is not known otherwise.
        """
        if self.split != "test":
            return math.prod(self.clip_shape)
        frame = next(self._frames(0, np.array([self.segments[0].start_frame])))
        height, width = self._stored_size(frame.shape[0], frame.shape[1])
        return self.views.temporal * self.sampling.num_frames * height * width * 3

    def clip(self, index: int, view: int | None = None) -> ClipSample:
        """The validation view of one segment, or test view `view`."""
        if view is None:
            return self.validation_clip(SampleKey(0, index))
        return self.test_clip(index, view)

    def labels(self, index: int) -> tuple[Tensor, ...]:
        """Per head the class id () int64, -1 without one, or the multi-hot vector (K,)."""
        return encode_labels(self.segments[index].labels, self.settings.heads)

    def _generator(self, key: SampleKey) -> np.random.Generator:
        return generator(self.settings.seed, key.epoch, key.index, self.settings.stream)

    def _sample(
        self, index: int, numbers: np.ndarray, placed: Callable[[int, int], Placement]
    ) -> ClipSample:
        """The clip of frames `numbers` (T,), with the crop chosen for their size (H, W)."""
        unique, first_use, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        frames = self._frames(index, unique)
        first = next(frames)
        cut = self._cut(first, placed(first.shape[0], first.shape[1]))
        clip = self.allocate((len(numbers), cut.side, cut.side, 3))
        for frame, position in zip(chain([first], frames), first_use, strict=True):
            cut.write(frame, clip[position])
        for position, source in enumerate(first_use[inverse]):
            if source != position:
                clip[position] = clip[source]
        return ClipSample(torch.from_numpy(clip), self.labels(index), index, resize=cut.resize)

    def _cut(self, frame: np.ndarray, placement: Placement) -> Cut:
        if self.settings.resize_on_device:
            return SourceWindow(frame.shape[0], frame.shape[1], placement)
        return FinishedCrop(placement)

    def _views(self, index: int, numbers: np.ndarray, crops: Sequence[int]) -> SegmentViews:
        """The views of clips `numbers` (V, T) times `crops` of one segment."""
        unique, inverse = np.unique(numbers, return_inverse=True)
        frames = self._frames(index, unique)
        first = next(frames)
        height, width = first.shape[:2]
        placements = [self.geometry.test(height, width, crop) for crop in crops]
        stored = self._stored_size(height, width)
        kept = self.allocate((len(unique), *stored, 3))
        for frame, out in zip(chain([first], frames), kept, strict=True):
            resize(frame, *stored, out)
        return SegmentViews(
            frames=torch.from_numpy(kept),
            views=merge_views(inverse.reshape(numbers.shape), placements),
            labels=self.labels(index),
            index=index,
            crop_size=self.geometry.test_crop,
            resized=(placements[0].height, placements[0].width),
        )

    def _stored_size(self, height: int, width: int) -> tuple[int, int]:
        """Size in which frames decoded at (H, W) leave the worker, for a test segment.

        The resized size; the decoded one if the device resizes and that moves little more data.
        """
        h, w = resized_size(height, width, self.geometry.test_crop)
        if self.settings.resize_on_device and height * width <= _MAX_DECODED_TO_RESIZED * h * w:
            return height, width
        return h, w

    def _frames(self, index: int, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Frames `numbers` (U,) of a segment, all of one size."""
        segment = self.segments[index]
        shape: tuple[int, ...] = ()
        for frame in self.frames.open(segment).read(numbers.tolist()):
            shape = shape or frame.shape
            if frame.shape != shape:
                raise UserError(
                    f"video {segment.video_id} (segment {segment.segment_id}) has frames of "
                    f"{shape[1]}x{shape[0]} and {frame.shape[1]}x{frame.shape[0]} pixels; "
                    "extract it again at one size"
                )
            yield frame


def new_frames(shape: tuple[int, ...]) -> np.ndarray:
    """Allocate separate memory, uint8."""
    return np.empty(shape, np.uint8)
