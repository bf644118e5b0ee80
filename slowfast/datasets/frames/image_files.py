"""Frames from JPEG files: decoding, and videos given as lists of files."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import FileIO
from typing import Protocol

import cv2
import numpy as np

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError

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

    Both give the same pixels. Raises: UserError for simplejpeg if it is not installed.
    """
    if name not in DECODERS:
        raise UserError(f"DATA.DECODER {name} is unknown; choose one of {', '.join(DECODERS)}")
    if name == "opencv":
        return _decode_opencv
    try:
        import simplejpeg
    except ImportError:
        if name == "auto":
            return _decode_opencv
        raise UserError(
            "DATA.DECODER simplejpeg is not installed; pip install simplejpeg or choose auto"
        ) from None
    return partial(_decode_simplejpeg, simplejpeg.decode_jpeg)


def _decode_simplejpeg(
    decode_jpeg: Callable[..., np.ndarray], data: bytes, buffer: np.ndarray | None = None
) -> np.ndarray:
    try:
        return decode_jpeg(data, "BGR", buffer=buffer)
    except ValueError:
        if buffer is None:
            raise
    # Either the file is broken or its picture is larger than the buffer.
    return decode_jpeg(data, "BGR")


def _decode_opencv(data: bytes, buffer: np.ndarray | None = None) -> np.ndarray:
    # OpenCV fills the missing part of a file with grey. The bytes of a marker cannot occur inside
    # a scan, so in a complete file the end marker follows the last start of a scan.
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("no JPEG header")
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError("premature end of JPEG file")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if frame is None:
        raise ValueError("corrupt JPEG data")
    return np.asarray(frame)


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
    try:
        data = retries.read(lambda: read_whole(path), path) if retries else read_whole(path)
        return decode(data, buffer)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadFrame(
            f"{path} (segment {segment_id}) is not a readable JPEG file: {reason}; "
            "copy or extract it again"
        ) from error


def read_whole(path: str) -> bytes:
    """The content of a file. Raises: OSError, also if fewer bytes than its size can be read."""
    with FileIO(path) as file:
        data = file.readall()
        size = os.fstat(file.fileno()).st_size
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
