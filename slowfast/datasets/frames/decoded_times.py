"""Presentation times of a video's frames as the decoder gives them: all, or the first and last."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from slowfast.datasets.frames.container_times import StatedTimes
from slowfast.datasets.frames.video_container import decodable, open_video

logger = logging.getLogger(__name__)

# Numbers of key frames to go back before decoding a frame, tried in this order.
_KEYS_BACK = (1, 2, 4, 8, 16)


def decoded_times(path: Path, number: int) -> list[int | None]:
    """Times of all frames, in the order of the decoder, up to the first damaged one.

    None for frames without a time. number: index of the video stream.

    Raises: errors of PyAV if no frame can be decoded.
    """
    import av

    times: list[int | None] = []
    with open_video(path) as container:
        try:
            times += [frame.pts for frame in container.decode(decodable(container, number))]
        except av.FFmpegError as error:
            if not times:
                raise
            logger.warning("%s: damaged after frame %d (%s)", path, len(times), error)
    return times


def is_ascending(times: list[int | None]) -> bool:
    return None not in times and all(a < b for a, b in pairwise(times))  # type: ignore[operator]


def without_lost_frames(
    path: Path, number: int, stated: StatedTimes, check_end: bool
) -> StatedTimes | None:
    """`stated` without frames at its ends that the decoder does not give.

    At the beginning these refer to frames before a cut; at the end they are those of a file that is
    cut off. One frame is decoded at the beginning, and with `check_end` the last group of pictures.

    Returns None if the whole file has to be decoded to know its frames.
    """
    shown = stated.shown
    first = _first_time(path, number)
    if first not in shown:
        return None
    if first != shown[0]:
        shown = [time for time in shown if time >= first]
        logger.warning(
            "%s: its first %d frames cannot be decoded without the key frame that was cut off",
            path,
            len(stated.shown) - len(shown),
        )
    stated = stated._replace(shown=shown)
    return _without_lost_end(path, number, stated) if check_end else stated


def _without_lost_end(path: Path, number: int, stated: StatedTimes) -> StatedTimes | None:
    """Decodes the last group of pictures, and some before it if that is not enough."""
    keys, shown = stated.keys or stated.shown[:1], stated.shown
    tail = {time for time in shown if time >= keys[-1]}
    found: set[int] = set()
    for key in starts_of_decoding(keys, len(keys)):
        found |= _times_from(path, number, key)
        if tail <= found:
            return stated
    if not found or max(found) < keys[-1]:
        return None  # The file was cut further up.
    last = max(found)
    kept = [time for time in shown if time <= last and (time < keys[-1] or time in found)]
    logger.warning("%s: its last %d frames cannot be decoded", path, len(shown) - len(kept))
    return stated._replace(shown=kept)


def starts_of_decoding(keys: Sequence[int], count: int) -> list[int]:
    """Key frames from which to decode a frame after the first `count`, one try after the other.

    The last one is enough unless it begins a gradual intra refresh, which takes some frames, or the
    container, which seeks by decoding time, ends up at a later one.
    """
    positions = dict.fromkeys(max(count - back, 0) for back in _KEYS_BACK)
    return [keys[position] for position in positions]


def _first_time(path: Path, number: int) -> int | None:
    """Time of the first frame that the decoder gives; None without a frame or its time."""
    import av

    with open_video(path) as container:
        try:
            for frame in container.decode(decodable(container, number)):
                return None if frame.pts is None else int(frame.pts)
        except av.FFmpegError:
            pass
    return None


def _times_from(path: Path, number: int, key: int) -> set[int]:
    """Times of the frames from a key frame on, as far as they can be decoded."""
    import av

    found = set()
    with open_video(path) as container:
        stream = decodable(container, number)
        try:
            container.seek(key, stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is not None:
                    found.add(int(frame.pts))
        except av.FFmpegError:
            pass
    return found
