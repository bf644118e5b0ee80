"""The container of a video file, opened within bounds, and the stream in it that is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slowfast.utils.errors import UserError
from slowfast.utils.limits import PIXELS_PER_BYTE, SMALL_VIDEO_PIXELS, VIDEO_PIXELS

logger = logging.getLogger(__name__)

FIX = "copy it again, or convert it to .mp4 (ffmpeg -i FILE -c:v libx264 OUT.mp4)"
# Demuxers of libavformat that may open a file. A playlist would lead to other files.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,flv,asf,h264,hevc"
# Bit of the disposition of a stream that is a cover picture.
_ATTACHED_PICTURE = 0x400


@contextmanager
def open_video(path: Path, **options: str) -> Iterator[Any]:
    """The container of a video file, closed at the end.

    options: of the demuxer, in addition.

    Raises: errors of PyAV.
    """
    import av

    with av.open(
        # A name such as "concat:a" would be a protocol otherwise.
        f"file:{path}",
        container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file", **options},
        # Titles in another encoding than UTF-8 do not matter.
        metadata_errors="ignore",
    ) as container:
        yield container


def decodable(container: Any, number: int) -> Any:
    """The video stream with that number, set up to decode in one thread."""
    stream = container.streams.video[number]
    # Several processes decode at once, each with one core.
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(_allowed_pixels(container))}
    return stream


def _allowed_pixels(container: Any) -> int:
    """Largest number of pixels accepted for a frame; a header of a few bytes may claim any."""
    return min(VIDEO_PIXELS, max(SMALL_VIDEO_PIXELS, PIXELS_PER_BYTE * container.size))


def video_stream(path: Path, container: Any) -> int:
    """Number of the first video stream that is not a cover picture. Raises: UserError for none."""
    streams = [
        (number, stream.codec_context)
        for number, stream in enumerate(container.streams.video)
        if not int(stream.disposition) & _ATTACHED_PICTURE
    ]
    if not streams:
        raise UserError(f"{path} has no video stream; {FIX}")
    number, codec = streams[0]
    if codec.width * codec.height > (allowed := _allowed_pixels(container)):
        raise UserError(
            f"{path} has frames of {codec.width}x{codec.height} pixels, but at most {allowed} in "
            "all are read from a file of its size; scale the video down (ffmpeg -i FILE -vf "
            "scale=-2:1080 OUT.mp4)"
        )
    if len(streams) > 1:
        logger.info(
            "%s has %d video streams: reading the first, %dx%d",
            path,
            len(streams),
            codec.width,
            codec.height,
        )
    return number
