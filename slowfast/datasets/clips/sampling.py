"""Temporal sampling: the frames of a segment that form a clip. Pure index arithmetic, as published.

Legend: L frames of the segment, T frames of the clip (fast pathway), V temporal views. A
position counts frames from the segment's first one; a span is the distance that a clip covers,
in frames of the video, both ends included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slowfast.datasets.types import Segment

# The validation clip is always view 5 (0-based) of 10, whatever the number of test views.
VALIDATION_VIEW = 5
VALIDATION_VIEWS = 10


def clip_span(num_frames: int, rate: int) -> int:
    """Frames of the video that a clip covers."""
    return (num_frames - 1) * rate + 1


def train_start(length: int, span: int, rng: np.random.Generator) -> int:
    """A random first position, uniform over those that keep the clip inside the segment.

    In a segment shorter than the clip it is uniform over span - length + 1 negative positions:
    the clip then repeats the segment's first frame, its last one, or both.
    """
    slack = length - span
    return int(rng.integers(min(slack, 0), max(slack, 0), endpoint=True))


def validation_start(length: int, span: int) -> int:
    """First position of the validation clip."""
    return int(np.rint(max(length - span, 0) / (VALIDATION_VIEWS - 1) * VALIDATION_VIEW))


def view_starts(length: int, span: int, num_views: int) -> np.ndarray:
    """First positions (V,) int64 of views spread evenly; one view is the validation clip."""
    if num_views == 1:
        return np.array([validation_start(length, span)])
    step = max(length - span, 0) / (num_views - 1)
    return np.rint(step * np.arange(num_views)).astype(np.int64)


def clip_positions(starts: np.ndarray | int, length: int, num_frames: int, rate: int) -> np.ndarray:
    """Positions (..., T) int64 of clips that start at `starts` (...), kept in 0..length-1."""
    steps = np.asarray(starts, dtype=np.int64)[..., None] + rate * np.arange(num_frames)
    return np.clip(steps, 0, length - 1)


def centred_frames(centre: int, num_frames: int, rate: int) -> np.ndarray:
    """Frame numbers (T,) int64 of a clip around frame `centre`; may leave the video's range."""
    return centre - num_frames * rate // 2 + rate * np.arange(num_frames)


def slow_indices(num_frames: int, alpha: int) -> np.ndarray:
    """Fast frames that the slow pathway takes: (T // alpha,) int64 indices, ends included."""
    count = num_frames // alpha
    if count == 1:
        return np.zeros(1, dtype=np.int64)
    return np.arange(count) * (num_frames - 1) // (count - 1)


@dataclass(frozen=True)
class ClipSampling:
    """Temporal sampling of clips from segments.

    num_frames: T.
    rate: stride between the frames of a clip, in frames of the video.
    position: segment (inside the segment) or first_frame (centred on the segment's first frame;
        the clip may extend beyond the segment; never random).
    """

    num_frames: int
    rate: int
    position: str = "segment"

    def __post_init__(self) -> None:
        if self.position not in ("segment", "first_frame"):
            raise ValueError(f"position is {self.position!r}, not segment or first_frame")

    @property
    def span(self) -> int:
        return clip_span(self.num_frames, self.rate)

    def train(self, segment: Segment, rng: np.random.Generator) -> np.ndarray:
        """Frame numbers (T,) of a random training clip."""
        if self.position == "first_frame":
            return self._centred(segment)
        return self._at(segment, train_start(segment.num_frames, self.span, rng))

    def validation(self, segment: Segment) -> np.ndarray:
        """Frame numbers (T,) of the validation clip."""
        if self.position == "first_frame":
            return self._centred(segment)
        return self._at(segment, validation_start(segment.num_frames, self.span))

    def views(self, segment: Segment, num_views: int) -> np.ndarray:
        """Frame numbers (V, T) of the temporal views."""
        if self.position == "first_frame":
            return np.tile(self._centred(segment), (num_views, 1))
        return self._at(segment, view_starts(segment.num_frames, self.span, num_views))

    def _at(self, segment: Segment, starts: np.ndarray | int) -> np.ndarray:
        positions = clip_positions(starts, segment.num_frames, self.num_frames, self.rate)
        return segment.start_frame + positions

    def _centred(self, segment: Segment) -> np.ndarray:
        return centred_frames(segment.start_frame, self.num_frames, self.rate)
