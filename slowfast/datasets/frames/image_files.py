"""Frames from JPEG files: decoding, lists of files, and folders with numbered files.

A frame number is the video's own; a file number is the number in the name of the file.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
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


# Names of frame files. Files that begin with img_ count from 0, frames from 1.
_FILE_NAME = re.compile(r"(frame_|img_)(\d{5,10})\.jpg")
_NUMBERING = {"frame_": 0, "img_": -1}


@dataclass
class VideoFolder:
    """The JPEG files of one video.

    prefix, digits: file n is called prefix + n with that many digits + .jpg.
    file_range: first and last file number once the folder has been listed.
    """

    path: Path
    prefix: str
    digits: int
    file_range: tuple[int, int] | None = None

    @staticmethod
    def find(path: Path) -> VideoFolder | None:
        """The folder `path`; None if it does not exist or holds no frame."""
        try:
            # The folder is not listed, because it may hold 100,000 files.
            with os.scandir(path) as entries:
                names = (_FILE_NAME.fullmatch(entry.name) for entry in entries)
                name = next((name for name in names if name), None)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return VideoFolder(path, name[1], len(name[2])) if name else None

    @property
    def numbering(self) -> int:
        """File number minus frame number."""
        return _NUMBERING[self.prefix]

    def file(self, number: int) -> str:
        return f"{self.path}/{self.prefix}{number:0{self.digits}d}.jpg"

    def list_range(self) -> tuple[int, int]:
        """First and last file number; the folder is listed once."""
        if self.file_range is None:
            names = (_FILE_NAME.fullmatch(path.name) for path in self.path.iterdir())
            numbers = [int(name[2]) for name in names if name and name[1] == self.prefix]
            self.file_range = min(numbers), max(numbers)
        return self.file_range


class JpegFolder:
    """The frames of one video from its folder, on behalf of one segment."""

    def __init__(
        self,
        folder: VideoFolder,
        segment: Segment,
        decode: Decoder,
        frame_offset: int,
        retries: Retries | None = None,
        bad_frames: BadFrames | None = None,
    ) -> None:
        self._folder = folder
        self._segment = segment
        self._decode = decode
        self._offset = frame_offset + folder.numbering
        self._retries = retries
        self._bad_frames = bad_frames or BadFrames()
        self._buffer: np.ndarray | None = None

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read.

        Raises: UserError for a segment outside the folder's files; BadFrame.
        """
        shown = -1
        frame = np.empty(0, np.uint8)
        for number in frame_numbers:
            wanted = number + self._offset
            file_range = self._folder.file_range
            if file_range and not file_range[0] <= wanted <= file_range[1]:
                wanted = self._nearest(wanted)
            if wanted != shown:
                frame = self._frame(wanted)
                shown = wanted
            yield frame

    def file(self, frame_number: int) -> str:
        """Path of the file that holds a frame."""
        return self._folder.file(frame_number + self._offset)

    def _frame(self, number: int) -> np.ndarray:
        """The frame in a file, or its replacement."""
        try:
            return self._read_file(number)
        except BadFrame as error:
            span = (
                min(self._segment.start_frame + self._offset, number),
                max(self._segment.stop_frame + self._offset, number),
            )
            return self._bad_frames.replace(number, span, self._read_file, self._folder.file, error)

    def _read_file(self, number: int) -> np.ndarray:
        """The frame in a file; outside the folder's range, the frame in the nearest file."""
        try:
            return self._decoded(self._folder.file(number))
        except FileNotFoundError:
            nearest = self._folder.file(self._nearest(number))
        try:
            return self._decoded(nearest)
        except FileNotFoundError:
            segment_id = self._segment.segment_id
            raise BadFrame(f"{nearest} (segment {segment_id}) is missing") from None

    def _decoded(self, file: str) -> np.ndarray:
        segment_id = self._segment.segment_id
        self._buffer = read_jpeg(file, segment_id, self._decode, self._retries, self._buffer)
        return self._buffer

    def _nearest(self, number: int) -> int:
        """The first or last file number in place of one outside the folder's range."""
        folder, segment = self._folder, self._segment
        known = folder.file_range is not None
        try:
            first, last = folder.list_range()
        except (OSError, ValueError):
            raise UserError(
                f"{folder.path} (segment {segment.segment_id}) has lost its frames"
            ) from None
        if first <= number <= last:
            raise BadFrame(
                f"{folder.file(number)} (segment {segment.segment_id}) is missing; the folder "
                f"holds files {first} to {last}: extract video {segment.video_id} again"
            )
        if segment.start_frame + self._offset > last or segment.stop_frame + self._offset < first:
            raise UserError(
                f"{folder.path} holds files {first} to {last}, but segment {segment.segment_id} "
                f"spans {segment.start_frame + self._offset} to "
                f"{segment.stop_frame + self._offset}: extract video {segment.video_id} again, "
                "or set DATA.FRAME_INDEX_OFFSET"
            )
        if not known:
            logger.warning(
                "%s holds files %d to %d, but segment %s needs file %d: using the nearest frame",
                folder.path,
                first,
                last,
                segment.segment_id,
                number,
            )
        return first if number < first else last
