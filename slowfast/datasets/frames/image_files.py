"""Frames from JPEG files: decoding, and videos given as lists of files."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from io import FileIO
from typing import Protocol

import cv2
import numpy as np

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames, decoding
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import PICTURE_RATIO, PICTURE_SIDE, PIXELS_PER_BYTE

logger = logging.getLogger(__name__)


class Decoder(Protocol):
    """Decoder of the bytes of a JPEG file."""

    def __call__(self, data: bytes, buffer: np.ndarray | None = None) -> np.ndarray:
        """The picture (H, W, 3) uint8 BGR, in `buffer` if it fits.

        buffer: an earlier picture that is no longer needed. Decoding into memory that is already
            in the processor's cache is 10 % faster.

        Raises: ValueError for an incomplete file.
        """
        ...


DECODERS = ("auto", "simplejpeg", "opencv")


def make_decoder(name: str) -> Decoder:
    """The decoder of that name; `auto` is simplejpeg if it is installed, else OpenCV.

    Both give the same pixels and refuse the same files: those that libjpeg warns about, since their
    pixels may be damaged. Only the warning about scan parameters 0, 0, 0 is ignored.

    Raises: UserError for simplejpeg if it is not installed.
    """
    if name not in DECODERS:
        raise UserError(f"DATA.DECODER {name} is unknown; choose one of {', '.join(DECODERS)}")
    if name == "opencv" or (name == "auto" and not _has_simplejpeg()):
        return _decode_opencv
    if not _has_simplejpeg():
        raise UserError(
            "DATA.DECODER simplejpeg is not installed; pip install simplejpeg or choose auto"
        )
    return _decode_simplejpeg


# Warning of libjpeg about scan parameters 0, 0, 0, which some cameras write; pixels are unaffected.
_HARMLESS = "Invalid SOS parameters"


def _decode_simplejpeg(data: bytes, buffer: np.ndarray | None = None) -> np.ndarray:
    import simplejpeg

    if buffer is not None:
        try:
            return simplejpeg.decode_jpeg(data, "BGR", buffer=buffer)
        except ValueError:
            # The file is broken, or its picture is larger than the buffer.
            pass
    _check_size(data)
    try:
        return simplejpeg.decode_jpeg(data, "BGR")
    except ValueError as error:
        if _HARMLESS not in str(error):
            raise
        return simplejpeg.decode_jpeg(data, "BGR", strict=False)


def _decode_opencv(data: bytes, buffer: np.ndarray | None = None) -> np.ndarray:
    # OpenCV fills the missing part of a file with grey. The bytes of a marker cannot occur inside
    # a scan, so in a complete file the end marker follows the last start of a scan.
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("no JPEG header")
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError("premature end of JPEG file")
    if _has_simplejpeg():
        # OpenCV does not report damaged scans. A small grey picture is enough to find them.
        _check_size(data)
        _check_scan(data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"corrupt JPEG data ({' '.join(str(error).split())})") from error
    if frame is None:
        raise ValueError("corrupt JPEG data")
    return np.asarray(frame)


def _check_scan(data: bytes) -> None:
    """Raises: ValueError for any warning of libjpeg, except those that change no pixel."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if _HARMLESS not in str(error):
            raise


def _check_size(data: bytes) -> None:
    """Raises: ValueError for a header that claims a picture that the file cannot hold."""
    import simplejpeg

    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    longest, shortest = max(height, width), min(height, width)
    if longest > PICTURE_SIDE or longest > PICTURE_RATIO * shortest:
        raise ValueError(f"it claims {width} x {height} pixels, which no video frame has")
    if height * width > PIXELS_PER_BYTE * len(data):
        raise ValueError(f"it claims {width} x {height} pixels in {len(data)} bytes")


@cache
def _has_simplejpeg() -> bool:
    return importlib.util.find_spec("simplejpeg") is not None


def read_jpeg(
    path: str,
    segment_id: str,
    decode: Decoder,
    retries: Retries | None = None,
    buffer: np.ndarray | None = None,
) -> np.ndarray:
    """The picture in a file (H, W, 3) uint8 BGR.

    retries: of reading the file, not of decoding it. buffer: as in Decoder.

    Raises: FileNotFoundError; BadFrame for a file that cannot be read or is not a whole JPEG.
    """

    def sentence(error: Exception) -> str:
        reason = error.strerror if isinstance(error, OSError) else error
        return (
            f"{path} (segment {segment_id}) is not a readable JPEG file: {reason}; "
            "copy or extract it again"
        )

    with decoding(sentence, passing=FileNotFoundError):
        data = retries.read(lambda: read_whole(path), path) if retries else read_whole(path)
        return decode(data, buffer)


def read_whole(path: str) -> bytes:
    """The content of a file.

    Raises: OSError, also if fewer bytes than its size can be read, or if it is not a regular file.
    """
    # Opening a pipe would wait for a writer.
    with FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        data = file.readall()
        size = status.st_size
    if len(data) < size:
        raise OSError(errno.EIO, f"{len(data)} of {size} bytes were read")
    return data


class ImageFiles:
    """Frames of a video given as a list of files; frame number = position in the list."""

    def __init__(
        self,
        files: Sequence[str],
        segment: Segment,
        decode: Decoder,
        retries: Retries | None = None,
        bad_frames: BadFrames | None = None,
    ) -> None:
        self._files = files
        self._segment = segment
        self._decode = decode
        self._retries = retries
        self._bad_frames = bad_frames or BadFrames()
        self._buffer: np.ndarray | None = None

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read; numbers outside the list give its first or last frame."""
        shown = -1
        frame = np.empty(0, np.uint8)
        for number in frame_numbers:
            position = self._position(number)
            if position != shown:
                frame = self._frame(position)
                shown = position
            yield frame

    def _frame(self, position: int) -> np.ndarray:
        """The frame, or its replacement."""
        try:
            return self._read_file(position)
        except BadFrame as error:
            span = (
                self._position(min(self._segment.start_frame, position)),
                self._position(max(self._segment.stop_frame, position)),
            )
            return self._bad_frames.replace(
                position, span, self._read_file, self._files.__getitem__, error
            )

    def _read_file(self, position: int) -> np.ndarray:
        path, segment_id = self._files[position], self._segment.segment_id
        try:
            self._buffer = read_jpeg(path, segment_id, self._decode, self._retries, self._buffer)
        except FileNotFoundError:
            raise BadFrame(
                f"{path} (segment {segment_id}) is missing; copy or extract it again"
            ) from None
        return self._buffer

    def _position(self, number: int) -> int:
        return min(max(number, 0), len(self._files) - 1)
