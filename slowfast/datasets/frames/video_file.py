"""Frames from a video file (PyAV), identical to those of decoding the whole file."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError


@dataclass(frozen=True)
class VideoIndex:
    """Time stamps of the frames of a video file.

    times: presentation time stamps of all frames, ascending; position = number of the frame.
    key_times: time stamps of the key frames, where decoding can start.
    fps: frames per second.
    """

    path: Path
    times: Sequence[int]
    key_times: Sequence[int]
    fps: float


def index_video(path: Path, retries: Retries | None = None) -> VideoIndex:
    """Read the packets of a file without decoding them.

    Raises: UserError for a file without a readable video stream.
    """
    import av

    try:
        packets, fps = (retries or Retries()).read(lambda: _packets(path), str(path))
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise UserError(f"{path} is not a readable video: {error}; copy it again") from error
    if not packets or fps == 0:
        raise UserError(f"{path} holds no video frames; copy it again")
    times = sorted(time for time, _ in packets)
    return VideoIndex(path, times, sorted(time for time, key in packets if key), fps)


def _packets(path: Path) -> tuple[list[tuple[int, bool]], float]:
    """(time stamp, whether it is a key frame) of every packet; frames per second."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [
            (packet.pts, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_discard
        ]
        return packets, float(stream.average_rate or 0)


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
        self._frames_per_number = 1.0 if number_fps is None else index.fps / number_fps
        first, count = self._position(segment.start_frame), len(index.times)
        if first >= count:
            raise UserError(
                f"{index.path} holds {count} frames, but segment {segment.segment_id} begins at "
                f"frame {first + 1}: copy it again"
            )

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read. Raises: BadFrame for one that cannot be decoded."""
        import av

        positions = [self._inside(self._position(number)) for number in frame_numbers]
        done = failures = 0
        while done < len(positions):
            try:
                for frame in self._stream(positions[done:]):
                    yield frame
                    done, failures = done + 1, 0
            except (av.FFmpegError, OSError, ValueError) as error:
                file = str(self._index.path)
                if isinstance(error, OSError) and self._retries.wait(failures, file, error):
                    failures += 1
                    continue
                yield self._replaced(positions[done], str(error))
                done, failures = done + 1, 0

    def _stream(self, positions: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at ascending positions. Raises: ValueError or an error of PyAV."""
        import av

        with av.open(str(self._index.path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            times = [self._index.times[position] for position in positions]
            yield from self._decode(container, stream, times)

    def _replaced(self, position: int, reason: str) -> np.ndarray:
        """The replacement for a frame; each candidate is decoded from its own key frame."""
        first, last = (
            self._inside(self._position(number))
            for number in (self._segment.start_frame, self._segment.stop_frame)
        )
        span = (min(first, position), max(last, position))
        error = self._broken(position, reason)
        return self._bad_frames.replace(position, span, self._alone, self._name, error)

    def _alone(self, position: int) -> np.ndarray:
        """One frame. Raises: BadFrame."""
        import av

        try:
            return next(iter(self._stream([position])))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._broken(position, str(error)) from error

    def _name(self, position: int) -> str:
        return f"{self._index.path} frame {position + 1}"

    def _inside(self, position: int) -> int:
        return min(max(position, 0), len(self._index.times) - 1)

    def _position(self, number: int) -> int:
        """Position of the frame shown at a number's time; it may be beyond the file's ends."""
        # The small addend includes a frame that begins exactly at that time despite rounding.
        return math.floor((number - self._first_number) * self._frames_per_number + 1e-6)

    def _decode(self, container: Any, stream: Any, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at the ascending times `wanted`; seeks if a later key frame is closer."""
        key_times = self._index.key_times
        decoded = None
        frames: Iterator[Any] = iter(())
        for time in wanted:
            key = key_times[max(bisect.bisect_right(key_times, time) - 1, 0)]
            if decoded is None or decoded.pts < key:
                container.seek(key, stream=stream, backward=True)
                frames = container.decode(stream)
                decoded = next(frames, None)
            while decoded is not None and decoded.pts < time:
                decoded = next(frames, None)
            if decoded is None or decoded.pts != time:
                raise ValueError(f"no frame at time stamp {time}")
            yield decoded.to_ndarray(format="bgr24")

    def _broken(self, position: int, reason: str) -> BadFrame:
        return BadFrame(
            f"{self._index.path} (segment {self._segment.segment_id}) cannot be decoded at frame "
            f"{position + 1}: {reason}; copy it again"
        )
