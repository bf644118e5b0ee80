"""The frames of a video file by their presentation times, as the decoder gives them.

The index comes from the container where it states presentation times, otherwise from its packets,
and for formats whose packets and frames differ (XviD with packed frames, damaged tails) from a
decode. What index and decoder disagree about is thus known before the first clip.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

from slowfast.datasets.frames.retries import Retries
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading, require_file

logger = logging.getLogger(__name__)

# Demuxers of libavformat that may open a file. A playlist would lead to other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,h264,hevc"
# Formats whose packets give the times of the decoded frames.
_EXACT = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_FIX = "copy it again, or convert it to .mp4 (ffmpeg -i FILE -c:v libx264 OUT.mp4)"
# Where decoding of a frame starts, in key frames before it, one try after the other.
_KEYS_BACK = (1, 2, 4, 8, 16)
# Packets that are read of a file whose own index is used.
_FIRST_PACKETS = 8
# Flags of an entry of the container's index.
_KEY, _DISCARD = 1, 2
# Files above this size are worth a line when all of their packets are read.
_LARGE_BYTES = 8 << 20


@dataclass(frozen=True)
class VideoIndex:
    """Time stamps of the frames of a video file.

    times: presentation time stamps of the frames that the decoder gives, ascending; position =
        number of the frame, from 0.
    key_times: time stamps of the key frames, shown or not, where decoding can start.
    fps: average frames per second. time_base: seconds of one unit of the time stamps.
    stream: number of the video stream among those of the file. seekable: decoding may start at any
        key frame; otherwise only at the beginning, as in AVI files whose packets hold two frames.
    """

    path: Path
    times: list[int]
    key_times: list[int]
    fps: float
    time_base: float
    stream: int = 0
    seekable: bool = True

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last one."""
        return (self.times[-1] - self.times[0]) * self.time_base + self.last_seconds

    @property
    def last_seconds(self) -> float:
        """Duration of the last frame, which files seldom state: that of the median frame."""
        if len(self.times) < 2:
            return 1 / self.fps
        steps = [b - a for a, b in pairwise(self.times)]
        return float(median(steps)) * self.time_base


@contextmanager
def open_video(path: Path) -> Iterator[Any]:
    """The container of a video file, closed at the end. Raises: errors of PyAV."""
    import av

    # Titles in another encoding than UTF-8 do not matter.
    options = {"container_options": {"format_whitelist": _FORMATS}, "metadata_errors": "ignore"}
    with av.open(str(path), **options) as container:
        yield container


def index_video(path: Path, retries: Retries | None = None) -> VideoIndex:
    """Find the frames of a file.

    Raises: UserError for a file that is not a video that can be read.
    """
    require_file(path, "a video", _FIX)
    with reading(path, "a video", _FIX):
        index = (retries or Retries()).read(lambda: _indexed(path), str(path))
    if not index.times or not index.key_times or index.fps <= 0:
        raise UserError(f"{path} holds no video frames; {_FIX}")
    return index


def _indexed(path: Path) -> VideoIndex:
    with open_video(path) as container:
        stream = _video_stream(path, container)
        number = container.streams.video.index(stream)
        fps, time_base = float(stream.average_rate or 0), float(stream.time_base)
        exact = container.format.name in _EXACT
        entries = list(stream.index_entries) if exact else []
        # The container's own index states decoding times, which are presentation times if no
        # frame refers forwards and none is shown later than it is decoded.
        size = path.stat().st_size
        stated = bool(entries) and not stream.codec_context.has_b_frames
        stated = stated and len(entries) == stream.frames and _shown_when_decoded(path, number)
        if stated:
            times, keys = _of_entries(path, entries, size)
        else:
            if size > _LARGE_BYTES:
                logger.info("%s: reading all of it once to find its frames", path)
            times, keys = _of_packets(container, stream)
    times, keys = sorted(set(times)), sorted(set(keys))
    index = VideoIndex(path, times, keys, fps, time_base, number)
    if not exact or not times:
        return _of_decoder(index)
    if keys and times[0] < keys[0]:
        index = _with_decoded_start(index)
    if stated or not index.seekable:
        return index
    return _with_decoded_tail(index)


def _video_stream(path: Path, container: Any) -> Any:
    """The first stream that is not a cover picture."""
    streams = [s for s in container.streams.video if not _is_picture(s)]
    if not streams:
        raise UserError(f"{path} has no video stream; {_FIX}")
    if len(streams) > 1:
        logger.info(
            "%s has %d video streams: reading the first, %dx%d",
            path,
            len(streams),
            streams[0].codec_context.width,
            streams[0].codec_context.height,
        )
    return streams[0]


def _is_picture(stream: Any) -> bool:
    return bool(int(stream.disposition) & 0x400)


def _shown_when_decoded(path: Path, number: int) -> bool:
    """Whether the first packets have equal decoding and presentation times."""
    with open_video(path) as container:
        packets = islice(container.demux(container.streams.video[number]), _FIRST_PACKETS)
        return all(packet.pts == packet.dts for packet in packets)


def _of_entries(path: Path, entries: list[Any], size: int) -> tuple[list[int], list[int]]:
    """As `_of_packets`, of the container's index, without frames beyond the end of the file."""
    inside = [entry for entry in entries if entry.pos + entry.size <= size]
    if len(inside) < len(entries):
        logger.warning("%s: its last %d frames are cut off", path, len(entries) - len(inside))
    times = [entry.timestamp for entry in inside if not entry.flags & _DISCARD]
    return times, [entry.timestamp for entry in inside if entry.flags & _KEY]


def _of_packets(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """(times of the shown frames, times of the key frames) of all packets."""
    times, keys = [], []
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        if packet.is_keyframe:
            # One that an edit list hides is where decoding of the first shown frames starts.
            keys.append(packet.pts)
        if not packet.is_discard:
            times.append(packet.pts)
    return times, keys


def _of_decoder(index: VideoIndex) -> VideoIndex:
    """The frames that a decode of the whole file gives, in the order in which it gives them."""
    import av

    times: list[int | None] = []
    with open_video(index.path) as container:
        stream = container.streams.video[index.stream]
        try:
            times += [frame.pts for frame in container.decode(stream)]
        except av.FFmpegError as error:
            if not times:
                raise
            logger.warning("%s: damaged after frame %d (%s)", index.path, len(times), error)
    if index.times and len(times) != len(index.times):
        logger.info(
            "%s names %d frames, of which %d can be decoded",
            index.path,
            len(index.times),
            len(times),
        )
    stated = [time for time in times if time is not None]
    if len(stated) == len(times) and all(a < b for a, b in pairwise(stated)):
        return replace(index, times=stated, key_times=stated[:1], seekable=False)
    # AVI files state no presentation times: their frames have one rate.
    count = list(range(len(times)))
    base = 1 / index.fps if index.fps else 0.0
    return replace(index, times=count, key_times=count[:1], time_base=base, seekable=False)


def _with_decoded_start(index: VideoIndex) -> VideoIndex:
    """The index without the frames before the first key frame, which need an earlier one."""
    import av

    first, key = None, index.key_times[0]
    with open_video(index.path) as container:
        stream = container.streams.video[index.stream]
        with suppress(av.FFmpegError):
            first = next((frame.pts for frame in container.decode(stream)), None)
    if first != key:
        return _of_decoder(index)
    kept = [time for time in index.times if time >= key]
    logger.warning(
        "%s: its first %d frames cannot be decoded without the key frame that was cut off",
        index.path,
        len(index.times) - len(kept),
    )
    return replace(index, times=kept)


def _with_decoded_tail(index: VideoIndex) -> VideoIndex:
    """The index without frames at the end that cannot be decoded.

    Only the last group of pictures is decoded, and some before it if that is not enough. If that
    gives nothing after the last key frame, the file was cut further up: all of it is decoded.
    """
    keys = index.key_times or index.times[:1]
    tail = {time for time in index.times if time >= keys[-1]}
    found: set[int] = set()
    for key in starts_of_decoding(keys, len(keys)):
        found |= _decoded_after(index, key)
        if tail <= found:
            return index
    if not found or max(found) < keys[-1]:
        return _of_decoder(index)
    last = max(found)
    kept = [time for time in index.times if time <= last and (time < keys[-1] or time in found)]
    logger.warning(
        "%s: its last %d frames cannot be decoded", index.path, len(index.times) - len(kept)
    )
    return replace(index, times=kept)


def starts_of_decoding(keys: Sequence[int], count: int) -> list[int]:
    """Key frames from which to decode a frame after the first `count`, one try after the other.

    The last one is enough unless it begins a gradual intra refresh, which takes some frames.
    """
    positions = dict.fromkeys(max(count - back, 0) for back in _KEYS_BACK)
    return [keys[position] for position in positions]


def _decoded_after(index: VideoIndex, key: int) -> set[int]:
    """Times of the frames that a decode from a key frame gives, up to the first fault."""
    import av

    found: set[int] = set()
    with open_video(index.path) as container, suppress(av.FFmpegError):
        stream = container.streams.video[index.stream]
        container.seek(key, stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is not None:
                found.add(frame.pts)
    return found
