"""Frames out of a video file (PyAV), each the very one that decoding the whole file gives."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError


@dataclass(frozen=True)
class VideoIndex:
    """Where the frames of a video file lie.

    times: presentation time stamps of all frames, ascending; position = number of the frame.
    key_times: those of the frames that decoding can start at.
    fps: frames per second.
    """

    path: Path
    times: Sequence[int]
    key_times: Sequence[int]
    fps: float


def index_video(path: Path) -> VideoIndex:
    """Read the packets of a file without decoding them.

    Raises: UserError for a file without a readable video stream.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            packets = [
                (packet.pts, packet.is_keyframe)
                for packet in container.demux(stream)
                if packet.pts is not None and not packet.is_discard
            ]
            fps = float(stream.average_rate or 0)
    except (av.FFmpegError, OSError, IndexError, ValueError) as error:
        raise UserError(f"{path} is not a readable video: {error}; copy it again") from error
    if not packets or fps == 0:
        raise UserError(f"{path} holds no video frames; copy it again")
    times = sorted(time for time, _ in packets)
    return VideoIndex(path, times, sorted(time for time, key in packets if key), fps)


class VideoFile:
    """The frames of one video file, on behalf of one segment.

    Raises: UserError where the segment begins behind the last frame.

    first_number: frame number of the file's first frame.
    number_fps: rate at which frame numbers count; the frame shown at a number's time is taken.
        None: numbers count the file's frames.
    """

    def __init__(
        self,
        index: VideoIndex,
        segment: Segment,
        *,
        first_number: int = 0,
        number_fps: float | None = None,
    ) -> None:
        self._index = index
        self._segment = segment
        self._first_number = first_number
        self._frames_per_number = 1.0 if number_fps is None else index.fps / number_fps
        first, count = self._position(segment.start_frame), len(index.times)
        if first >= count:
            raise UserError(
                f"{index.path} holds {count} frames, but segment {segment.segment_id} begins at "
                f"frame {first + 1}: copy it again"
            )

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read. Raises: UserError where a frame cannot be decoded."""
        import av

        index = self._index
        last = len(index.times) - 1
        positions = [min(max(self._position(number), 0), last) for number in frame_numbers]
        try:
            with av.open(str(index.path)) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                yield from self._decode(container, stream, [index.times[p] for p in positions])
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._broken(str(error)) from error

    def _position(self, number: int) -> int:
        """Position of the frame shown at a number's time, beyond the file's ends too."""
        # The small addend keeps a frame that begins exactly at that time.
        return math.floor((number - self._first_number) * self._frames_per_number + 1e-6)

    def _decode(self, container: Any, stream: Any, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at the ascending times `wanted`; seeks where a key frame lies between."""
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
                raise self._broken(f"no frame at time stamp {time}")
            yield decoded.to_ndarray(format="bgr24")

    def _broken(self, reason: str) -> UserError:
        return UserError(
            f"{self._index.path} (segment {self._segment.segment_id}) cannot be decoded: "
            f"{reason}; copy it again"
        )
