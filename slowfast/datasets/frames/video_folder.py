"""Frames from a folder with numbered JPEG files.

A frame number is the video's own; a file number is the number in the name of the file.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames
from slowfast.datasets.frames.image_files import Decoder, read_jpeg
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading

logger = logging.getLogger(__name__)

# Names of frame files, in search order. The number may have more digits
# than the width, as %05d gives from 100,000 on.
_PREFIXES = ("frame_", "img_", "")
_WIDTHS = (10, 5, 6, 7, 8, 9, 4)
# File number minus frame number if neither file 0 nor file 1 exists.
_NUMBERING = {"frame_": 0, "img_": -1, "": 0}
# Files after the last one that a segment may name: annotations of EPIC-KITCHENS end up to a second
# after some videos, and the last frame is repeated there.
_SLACK = 60


@dataclass
class VideoFolder:
    """The JPEG files of one video.

    prefix, digits: file n is called prefix + n with at least that many digits + .jpg.
    numbering: file number minus frame number: 0 if files are numbered from 1, -1 if from 0.
    file_range: first and last file number once the folder has been listed.
    """

    path: Path
    prefix: str
    digits: int
    numbering: int
    file_range: tuple[int, int] | None = None

    @staticmethod
    def find(path: Path) -> VideoFolder | None:
        """The folder `path`; None if it does not exist or holds no frame.

        Files are numbered from 0 if file 0 exists, otherwise from 1 if file 1 exists. The
        folder, which may hold 100,000 files, is only listed if neither exists; file numbers then
        follow the usual rule of the prefix, with a warning. A folder with files of
        two extractions gives the first pattern of a fixed order, with a warning.

        Raises: UserError for a folder that cannot be read.
        """
        with reading(path, "a folder of frames", "check its links and permissions"):
            if not path.is_dir():
                return None
            patterns = _first_files(path)
        if len(patterns) > 1:
            _warn_of_two(path, patterns)
        if patterns:
            prefix, digits, first = patterns[0]
            return VideoFolder(path, prefix, digits, first - 1)
        return _listed(path)

    def file(self, number: int) -> str:
        return f"{self.path}/{self.prefix}{number:0{self.digits}d}.jpg"

    def list_range(self) -> tuple[int, int]:
        """First and last file number; the folder is listed once."""
        if self.file_range is None:
            numbers = self.numbers()
            self.file_range = int(numbers[0]), int(numbers[-1])
        return self.file_range

    def numbers(self) -> np.ndarray:
        """All file numbers of the pattern, ascending (n,) int64; lists the folder.

        Raises: ValueError if none is left; OSError.
        """
        found = _numbers(self.path).get((self.prefix, self.digits))
        if found is None:
            raise ValueError(f"{self.path} holds no {self.prefix}*.jpg")
        return found

    def fault(self, segments: Sequence[Segment], frame_offset: int) -> str:
        """Fault in the files that the segments of the video need; "" for none.

        frame_offset: added to frame numbers, as in VideoStore.
        """
        try:
            numbers = self.numbers()
        except (OSError, ValueError):
            return f"{self.path} no longer contains its frames"
        first, last = int(numbers[0]), int(numbers[-1])
        if gaps := last - first + 1 - len(numbers):
            step = int(np.median(np.diff(numbers)))
            every = f", only one in {step} exists: extract all frames" if step > 1 else ""
            return f"{self.path} lacks {gaps} of its files {first} to {last}{every}"
        offset = frame_offset + self.numbering
        beyond = [s for s in segments if s.stop_frame + offset > last + _SLACK]
        if not beyond:
            return ""
        longest = max(segment.stop_frame for segment in beyond) + offset
        return (
            f"{self.path} ends with file {last}, but {len(beyond)} of {len(segments)} segments "
            f"need files up to {longest}: extract it again"
        )


def _first_files(path: Path) -> list[tuple[str, int, int]]:
    """(prefix, digits, first number) of every pattern for which file 0 or file 1 exists."""
    # The second only without the first: each look-up takes a millisecond on a network disk.
    return _first_of(path, _PREFIXES) or _first_of(path, [_own_prefix(path)])


def _own_prefix(path: Path) -> str:
    """Prefix of files that are called after their folder, as in Charades: `005BU/005BU-`."""
    return f"{path.name}-"


def _first_of(path: Path, prefixes: Sequence[str]) -> list[tuple[str, int, int]]:
    found = []
    for prefix in prefixes:
        for digits in _WIDTHS:
            first = next(
                (n for n in (0, 1) if os.path.lexists(f"{path}/{prefix}{n:0{digits}d}.jpg")), None
            )
            if first is not None:
                found.append((prefix, digits, first))
    return found


def _warn_of_two(path: Path, patterns: Sequence[tuple[str, int, int]]) -> None:
    names = [f"{prefix}{first:0{digits}d}.jpg" for prefix, digits, first in patterns]
    logger.warning(
        "%s holds files of several extractions, %s: reading those of %s; move the others away",
        path,
        " and ".join(names),
        names[0],
    )


def _listed(path: Path) -> VideoFolder | None:
    """A folder whose files begin neither with 0 nor with 1; None without frames."""
    with reading(path, "a folder of frames", "check its links and permissions"):
        patterns = _numbers(path)
    if not patterns:
        return None
    prefix, digits = max(patterns, key=lambda pattern: len(patterns[pattern]))
    numbering, numbers = _NUMBERING.get(prefix, 0), patterns[prefix, digits]
    logger.warning(
        "%s begins with file %d, so its numbering is not known: assuming that %s*.jpg is "
        "numbered from %d",
        path,
        numbers[0],
        prefix,
        numbering + 1,
    )
    return VideoFolder(path, prefix, digits, numbering, (int(numbers[0]), int(numbers[-1])))


def _numbers(path: Path) -> dict[tuple[str, int], np.ndarray]:
    """By (prefix, digits) the ascending file numbers of a folder.

    A longer number belongs to the widest pattern that is padded to fewer digits: after 99999,
    %05d gives 100000, which has no leading zero.
    """
    found: dict[tuple[str, int], list[int]] = {}
    prefixes = "|".join(map(re.escape, (*_PREFIXES, _own_prefix(path))))
    file_name = re.compile(rf"({prefixes})(\d{{4,10}})\.jpg")
    for name in os.listdir(path):  # noqa: PTH208 (a Path for each of 100,000 files is slow)
        if matched := file_name.fullmatch(name):
            found.setdefault((matched[1], len(matched[2])), []).append(int(matched[2]))
    for prefix, digits in sorted(found, key=lambda pattern: pattern[1], reverse=True):
        numbers = found[prefix, digits]
        shorter = [d for p, d in found if p == prefix and d < digits]
        if shorter and min(numbers) >= 10 ** (digits - 1):
            found[prefix, max(shorter)].extend(found.pop((prefix, digits)))
    return {pattern: np.sort(np.array(numbers)) for pattern, numbers in found.items()}


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
        """Replace a file number outside the folder's range by the first or last one in it."""
        folder, segment = self._folder, self._segment
        known = folder.file_range is not None
        try:
            first, last = folder.list_range()
        except (OSError, ValueError):
            raise UserError(
                f"{folder.path} (segment {segment.segment_id}) no longer contains its frames"
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
