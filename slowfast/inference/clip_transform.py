"""From a clip in memory to the input of a model, as a validation clip of a data set.

Legend: L frames of the given clip, T of the model's (A = T // alpha of its slow pathway), H W
pixels, S crop side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.clips.settings import ClipSettings
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError


class ArrayFrames:
    """A frame store with one video, which is in memory: (L, H, W, 3) uint8 BGR."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames

    def open(self, segment: Segment) -> ArrayFrames:
        return self

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        for number in frame_numbers:
            yield self._frames[min(max(number, 0), len(self._frames) - 1)]

    def check(self, segments: Sequence[Segment]) -> None:
        """A video in memory cannot be missing."""


class ClipTransform:
    """Sample, resize, crop and normalise one clip as in validation.

    Sampling takes T frames at the model's step, DATA.SAMPLING_RATE, from the clip, which should
    have the frame rate of the training videos. A shorter clip repeats its last frame.
    """

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings

    def __call__(self, clip: np.ndarray, channel_order: str = "rgb") -> list[Tensor]:
        """[slow (1, 3, A, S, S), fast (1, 3, T, S, S)] float32.

        clip: (L, H, W, 3) uint8. channel_order: of the clip, rgb or bgr (as OpenCV reads).

        Raises: UserError for an array of another shape or type.
        """
        data = SegmentDataset(
            [self._segment(clip)], "val", self._frames(clip, channel_order), self.settings
        )
        return self.settings.transform.clips(collate_clips([data.clip(0)]))

    def _segment(self, clip: np.ndarray) -> Segment:
        if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[3] != 3 or not clip.size:
            raise UserError(
                f"a clip is a uint8 array (frames, height, width, 3), not {clip.dtype} "
                f"{clip.shape}; scale floats to 0..255 and move the channels last"
            )
        unlabelled = tuple(() for _ in self.settings.heads)
        return Segment("clip", "clip", "", 0, len(clip) - 1, "", unlabelled)

    @staticmethod
    def _frames(clip: np.ndarray, channel_order: str) -> ArrayFrames:
        if channel_order not in ("rgb", "bgr"):
            raise UserError(f"channel_order is {channel_order!r}; set it to rgb or bgr")
        # OpenCV needs contiguous rows, which a reversed view does not have.
        return ArrayFrames(
            clip if channel_order == "bgr" else np.ascontiguousarray(clip[..., ::-1])
        )
