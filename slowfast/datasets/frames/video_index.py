"""The frames of a video file by their presentation times, as the decoder gives them.

The times come from the index in the file's header where it has one, otherwise from its packets, and
for formats whose packets and frames differ (XviD with packed frames) from a decode. Disagreements
between container and decoder are resolved here, before the first clip.
"""

from __future__ import annotations

import logging
from array import array
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from slowfast.datasets.frames.container_times import StatedTimes, times_of_index, times_of_packets
from slowfast.datasets.frames.decoded_times import decoded_times, is_ascending, without_lost_frames
from slowfast.datasets.frames.index_cache import load_index, store_index
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.video_container import FIX, open_video, video_stream
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading, require_file

logger = logging.getLogger(__name__)

# Formats whose header has an index of all frames, and those whose packets give the times of the
# decoded frames.
_INDEXED = "mov,mp4,m4a,3gp,3g2,mj2"
_EXACT = (_INDEXED, "matroska,webm")
# Reading a whole file above this size is logged.
_LARGE_BYTES = 8 << 20
# The number changes with the stored content, or with the way it is computed.
_CACHED = "video1"


@dataclass(frozen=True)
class VideoIndex:
    """Time stamps of the frames of a video file.

    times: presentation time stamps of the frames that the decoder gives, ascending, int64;
        position = number of the frame, from 0.
    key_times: time stamps of the key frames, shown or not, where decoding can start.
    fps: average frames per second. time_base: seconds of one unit of the time stamps.
    stream: number of the video stream among those of the file. seekable: decoding may start at any
        key frame; otherwise only at the beginning, as in AVI files whose packets hold two frames.
    """

    path: Path
    times: array[int]
    key_times: array[int]
    fps: float
    time_base: float
    stream: int = 0
    seekable: bool = True

    @property
    def seconds(self) -> float:
        """Duration from the first frame to the end of the last one, in seconds."""
        return (self.times[-1] - self.times[0]) * self.time_base + self.last_seconds

    @cached_property
    def last_seconds(self) -> float:
        """Duration of the last frame: the median over all frames, as files rarely state it."""
        if len(self.times) < 2:
            return 1 / self.fps
        return float(np.median(np.diff(self.times))) * self.time_base


def index_video(path: Path, retries: Retries | None = None) -> VideoIndex:
    """Find the frames of a file, or read them from the cache if it was indexed before.

    Raises: UserError for a file that is not a readable video.
    """
    require_file(path, "a video", FIX)
    if (index := _cached(path)) is not None:
        return index
    with reading(path, "a video", FIX):
        index, is_slow = (retries or Retries()).read(lambda: _indexed(path), str(path))
    if not index.times or not index.key_times or index.fps <= 0:
        raise UserError(f"{path} holds no video frames; {FIX}")
    if is_slow or path.stat().st_size > _LARGE_BYTES:
        # The header of a short clip is read faster than a cache is written.
        _store(index)
    return index


def _cached(path: Path) -> VideoIndex | None:
    stored = load_index(_CACHED, path)
    if stored is None:
        return None
    fps, time_base, stream, seekable = stored["stream"].tolist()
    times, keys = (array("q", stored[name].tobytes()) for name in ("times", "key_times"))
    return VideoIndex(path, times, keys, fps, time_base, int(stream), bool(seekable))


def _store(index: VideoIndex) -> None:
    arrays = {
        "times": np.array(index.times, np.int64),
        "key_times": np.array(index.key_times, np.int64),
        "stream": np.array([index.fps, index.time_base, index.stream, index.seekable]),
    }
    store_index(_CACHED, index.path, arrays)


def _indexed(path: Path) -> tuple[VideoIndex, bool]:
    """The index of a file, and whether all of the file was read for it."""
    stated = None
    with open_video(path) as container:
        number = video_stream(path, container)
        stream = container.streams.video[number]
        fps, time_base = float(stream.average_rate or 0), float(stream.time_base)
        name = container.format.name
        if name == _INDEXED:
            with open_video(path, ignore_editlist="1") as plain:
                stated = times_of_index(path, container, stream, plain.streams.video[number])
    is_slow = stated is None
    if stated is None:
        if path.stat().st_size > _LARGE_BYTES:
            logger.info("%s: reading the whole file once to find its frames", path)
        with open_video(path) as container:
            stated = times_of_packets(container, container.streams.video[number])
    elif stated.cut:
        logger.warning("%s: its last %d frames are cut off", path, stated.cut)
    checked = None
    if stated.shown and name in _EXACT:
        checked = without_lost_frames(path, number, stated, check_end=is_slow)
    if checked is not None:
        shown, keys = array("q", checked.shown), array("q", checked.keys)
        return VideoIndex(path, shown, keys, fps, time_base, number), is_slow
    return _decoded(path, number, stated, fps, time_base), True


def _decoded(
    path: Path, number: int, stated: StatedTimes, fps: float, time_base: float
) -> VideoIndex:
    """The index of a file from decoding all of it; clips are then decoded from its beginning."""
    found = decoded_times(path, number)
    if stated.shown and len(found) != len(stated.shown):
        logger.info(
            "%s lists %d frames, of which %d can be decoded", path, len(stated.shown), len(found)
        )
    if is_ascending(found):
        times = array("q", [time for time in found if time is not None])
    else:
        # AVI files state no presentation times: their frames have one rate.
        times, time_base = array("q", range(len(found))), 1 / fps if fps else 0.0
    return VideoIndex(path, times, times[:1], fps, time_base, number, seekable=False)
