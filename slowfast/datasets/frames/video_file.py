"""Frames from a video file (PyAV), identical to those of decoding the whole file."""

from __future__ import annotations

import bisect
import logging
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames, decoding
from slowfast.datasets.frames.decoded_times import starts_of_decoding
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.video_container import decodable, open_video
from slowfast.datasets.frames.video_index import VideoIndex, index_video
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError

__all__ = ["VideoFile", "VideoIndex", "index_video"]

logger = logging.getLogger(__name__)

# Share of a unit of time by which containers round, and what floating point adds.
_ROUNDING = 0.5 + 1e-6


class VideoFile:
    """The frames of one video file, on behalf of one segment.

    Raises: UserError if the segment begins after the last frame.

    first_number: frame number of the file's first frame.
    number_fps: rate at which frame numbers count; the frame shown at a number's time is taken.
        None: numbers count the file's frames.
    retries, bad_frames: as in VideoStore.
    """

    def __init__(
        self,
        index: VideoIndex,
        segment: Segment,
        *,
        first_number: float = 0,
        number_fps: float | None = None,
        retries: Retries | None = None,
        bad_frames: BadFrames | None = None,
    ) -> None:
        self._index = index
        self._segment = segment
        self._first_number = first_number
        self._retries = retries or Retries()
        self._bad_frames = bad_frames or BadFrames()
        self._number_fps = number_fps
        self._check_start(segment)

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read. Raises: BadFrame for one that cannot be decoded."""
        positions = [self._inside(self._position(number)) for number in frame_numbers]
        done = failures = 0
        skip = True
        while done < len(positions):
            try:
                for frame in self._stream(positions[done:], skip):
                    yield frame
                    done, failures = done + 1, 0
            except UserError:
                raise
            except Exception as error:  # A decoder can raise any kind of error.
                logger.debug("%s could not be decoded", self._index.path, exc_info=True)
                file = str(self._index.path)
                if isinstance(error, OSError) and self._retries.wait(failures, file, error):
                    failures += 1
                    continue
                if skip:
                    # The times of packets and of frames may differ, as in interlaced videos.
                    skip = False
                    continue
                yield self._replaced(positions[done], str(error))
                done, failures = done + 1, 0

    def _stream(self, positions: Sequence[int], skip: bool) -> Iterator[np.ndarray]:
        """The frames at ascending positions. Raises: ValueError or an error of PyAV.

        skip: do not decode frames that are not wanted and that no other frame refers to.
        """
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        with open_video(self._index.path) as container:
            stream = decodable(container, self._index.stream)
            # If the size changes inside the file, pictures keep that of the first one.
            size = stream.codec_context.height, stream.codec_context.width
            if self._index.seekable:
                times = [self._index.times[position] for position in positions]
                frames = self._decode(container, stream, times, skip)
            else:
                frames = _counted(container.decode(stream), positions)
            for frame in frames:
                yield _upright(reformatter, frame, *size)

    def _replaced(self, position: int, reason: str) -> np.ndarray:
        """The replacement for a frame; each candidate is decoded from its own key frame."""
        first, last = (
            self._inside(self._position(number))
            for number in (self._segment.start_frame, self._segment.stop_frame)
        )
        span = (min(first, position), max(last, position))
        error = BadFrame(self._sentence(position, reason))
        return self._bad_frames.replace(position, span, self._alone, self._name, error)

    def _alone(self, position: int) -> np.ndarray:
        """One frame. Raises: BadFrame."""
        with decoding(lambda error: self._sentence(position, str(error))):
            return next(iter(self._stream([position], skip=False)))

    def _name(self, position: int) -> str:
        return f"{self._index.path} frame {position + 1}"

    def _inside(self, position: int) -> int:
        return min(max(position, 0), len(self._index.times) - 1)

    def _check_start(self, segment: Segment) -> None:
        """Raises: UserError for a segment that begins after the last frame."""
        index, count = self._index, len(self._index.times)
        if self._number_fps is None:
            first = math.floor(segment.start_frame - self._first_number)
            is_after, beginning = first >= count, f"frame {first + 1}"
        else:
            seconds = (segment.start_frame - self._first_number) / self._number_fps
            is_after = seconds > index.seconds - _ROUNDING * index.time_base
            beginning = f"{seconds:.2f} s, after the video ends ({index.seconds:.2f} s)"
        if is_after:
            raise UserError(
                f"{index.path} holds {count} frames, but segment {segment.segment_id} begins at "
                f"{beginning}; copy the file again"
            )

    def _position(self, number: int) -> int:
        """Position of the frame shown at a number's time; it may be beyond the file's ends."""
        if self._number_fps is None:
            return math.floor(number - self._first_number)
        index = self._index
        seconds = (number - self._first_number) / self._number_fps
        # Containers round the time of a frame to their unit, by half of one at most.
        units = index.times[0] + seconds / index.time_base + _ROUNDING
        return bisect.bisect_right(index.times, units) - 1

    def _decode(
        self, container: Any, stream: Any, wanted: Sequence[int], skip: bool
    ) -> Iterator[Any]:
        """The frames at the ascending times `wanted`; seeks if a later key frame is closer."""
        keys, wanted_times = self._index.key_times, frozenset(wanted)
        decoded = None
        frames: Iterator[Any] = iter(())
        for time in wanted:
            own = max(bisect.bisect_right(keys, time), 1)
            if decoded is not None and decoded.pts >= keys[own - 1]:
                decoded = _not_before(time, decoded, frames)
            for key in starts_of_decoding(keys, own):
                if decoded is not None and decoded.pts == time:
                    break
                container.seek(key, stream=stream, backward=True)
                frames = _timed(container, stream, wanted_times if skip else None)
                decoded = _not_before(time, next(frames, None), frames)
            if decoded is None or decoded.pts != time:
                raise ValueError(f"no frame at time stamp {time}")
            yield decoded

    def _sentence(self, position: int, reason: str) -> str:
        return (
            f"{self._index.path} (segment {self._segment.segment_id}) cannot be decoded at frame "
            f"{position + 1}: {reason}; copy it again"
        )


def _not_before(time: int, decoded: Any, frames: Iterator[Any]) -> Any:
    """The first frame at or after `time`: `decoded` or one of `frames`; None at the end."""
    while decoded is not None and decoded.pts < time:
        decoded = next(frames, None)
    return decoded


def _timed(container: Any, stream: Any, wanted: frozenset[int] | None) -> Iterator[Any]:
    """The frames from here on that have a time.

    wanted: times of the wanted frames; others are only decoded if a frame refers to them. None: all
        frames are decoded.
    """
    for packet in container.demux(stream):
        if wanted is not None:
            skipped = "DEFAULT" if packet.pts in wanted else "NONREF"
            stream.codec_context.skip_frame = skipped
        yield from (frame for frame in packet.decode() if frame.pts is not None)


def _upright(reformatter: Any, frame: Any, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR, turned as the track's header says; height, width: before the turn."""
    # One reformatter for all frames sets up the conversion of colours once.
    turned = reformatter.reformat(frame, width=width, height=height, format="bgr24")
    picture: np.ndarray = turned.to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _counted(frames: Iterator[Any], positions: Sequence[int]) -> Iterator[Any]:
    """The frames at ascending positions, counted from the beginning. Raises: ValueError."""
    wanted = iter(positions)
    position = next(wanted, None)
    for number, frame in enumerate(frames):
        while number == position:
            yield frame
            position = next(wanted, None)
        if position is None:
            return
    if position is not None:
        raise ValueError(f"no frame {position}")
