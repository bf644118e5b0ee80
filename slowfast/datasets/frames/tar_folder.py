"""Frames read directly from the tar of a video, through an index of offsets.

The index is made once per file and kept in `$SUML_CACHE`. Several processes may read one tar, since
a read does not move the file position.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames, decoding
from slowfast.datasets.frames.image_files import Decoder
from slowfast.datasets.frames.index_cache import load_index, store_index
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.reading import require_file

_MEMBER = re.compile(r"(?:.*/)?([^/]*?)([0-9]{4,10})\.jpg")
# The number changes with the stored content.
_CACHED = "tar1"
_FIX = "copy the tar again, or unpack it into a folder of the same name"
# Prefixes of the members' names, and file number minus frame number if neither file 0 nor file 1 is
# in the tar.
_NUMBERING = {"frame_": 0, "img_": -1, "": 0}


@dataclass
class TarFolder:
    """The JPEG files of one video in an uncompressed tar.

    numbers: (n,) int64 file numbers, ascending. places: (n, 2) int64, offset and size in bytes.
    numbering: file number minus frame number.
    """

    path: Path
    numbers: np.ndarray
    places: np.ndarray
    numbering: int
    _descriptors: dict[int, int] = field(default_factory=dict, repr=False)

    @staticmethod
    def find(path: Path) -> TarFolder | None:
        """The tar `path`; None if it does not exist.

        Raises: UserError for a compressed or damaged tar, and for one without frames.
        """
        if not path.exists():
            return None
        require_file(path, "a tar of frames")
        stored = load_index(_CACHED, path)
        if stored is None:
            prefix, numbers, places = _indexed(path)
            arrays = {"numbers": numbers, "places": places, "prefix": np.array(prefix)}
            store_index(_CACHED, path, arrays)
        else:
            numbers, places, prefix = stored["numbers"], stored["places"], str(stored["prefix"])
        numbering = int(numbers[0]) - 1 if numbers[0] in (0, 1) else _NUMBERING.get(prefix, 0)
        return TarFolder(path, numbers, places, numbering)

    def read(self, number: int) -> bytes:
        """The content of a file by its number; the nearest one for a number outside the tar.

        Raises: KeyError for a number that is missing inside; OSError for a tar that was cut.
        """
        number = min(max(number, int(self.numbers[0])), int(self.numbers[-1]))
        row = int(np.searchsorted(self.numbers, number))
        if self.numbers[row] != number:
            raise KeyError(number)
        offset, size = (int(value) for value in self.places[row])
        data = os.pread(self._descriptor(), size, offset)
        if len(data) < size:
            raise OSError(f"file {number} has only {len(data)} of {size} bytes")
        return data

    def list_range(self) -> tuple[int, int]:
        """First and last file number."""
        return int(self.numbers[0]), int(self.numbers[-1])

    def fault(self, segments: Sequence[Segment], frame_offset: int) -> str:
        """As VideoFolder.fault."""
        first, last = int(self.numbers[0]), int(self.numbers[-1])
        if gaps := last - first + 1 - len(self.numbers):
            return f"{self.path} lacks {gaps} of its files {first} to {last}"
        longest = max(s.stop_frame for s in segments) + frame_offset + self.numbering
        if longest > last + 60:
            return f"{self.path} ends with file {last}, but segments need files up to {longest}"
        return ""

    def _descriptor(self) -> int:
        """File descriptor of this process; a worker does not share its parent's."""
        process = os.getpid()
        if process not in self._descriptors:
            self._descriptors[process] = os.open(self.path, os.O_RDONLY)
        return self._descriptors[process]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_descriptors": {}}


class TarFrames:
    """The frames of one segment from a tar."""

    def __init__(
        self,
        tar: TarFolder,
        segment: Segment,
        decode: Decoder,
        frame_offset: int,
        bad_frames: BadFrames,
    ) -> None:
        self._tar = tar
        self._segment = segment
        self._decode = decode
        self._offset = frame_offset + tar.numbering
        self._bad_frames = bad_frames
        self._buffer: np.ndarray | None = None
        last = int(tar.numbers[-1])
        if segment.start_frame + self._offset > last:
            raise UserError(
                f"{tar.path} ends with file {last}, but segment {segment.segment_id} begins with "
                f"file {segment.start_frame + self._offset}; copy the tar again"
            )

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read."""
        for number in frame_numbers:
            wanted = number + self._offset
            try:
                yield self._frame(wanted)
            except BadFrame as error:
                span = (
                    min(self._segment.start_frame + self._offset, wanted),
                    max(self._segment.stop_frame + self._offset, wanted),
                )
                yield self._bad_frames.replace(wanted, span, self._frame, self._name, error)

    def _frame(self, number: int) -> np.ndarray:
        with decoding(lambda error: f"{self._name(number)} cannot be read: {error}; {_FIX}"):
            try:
                data = self._tar.read(number)
            except KeyError:
                raise BadFrame(f"{self._name(number)} is missing; {_FIX}") from None
            self._buffer = self._decode(data, self._buffer)
        return self._buffer

    def _name(self, number: int) -> str:
        return f"{self._tar.path} file {number} (segment {self._segment.segment_id})"


def _indexed(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Prefix, numbers and places of the frames, by the headers of the members."""
    # Files of Charades are called after their video: `005BU-000001.jpg`.
    prefixes = (*_NUMBERING, f"{path.stem}-")
    places: dict[str, dict[int, tuple[int, int]]] = {prefix: {} for prefix in prefixes}
    last = "its first member"
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                last = member.name
                matched = _MEMBER.fullmatch(member.name)
                if member.isreg() and matched and matched[1] in places:
                    places[matched[1]][int(matched[2])] = (member.offset_data, member.size)
    except Exception as error:  # A damaged header can raise any error.
        kind = "" if not path.name.endswith("gz") else "compressed, which cannot be read in part: "
        raise UserError(f"{path} is {kind}not a valid tar after {last} ({error}); {_FIX}") from None
    prefix = max(places, key=lambda name: len(places[name]))
    if not places[prefix]:
        raise UserError(
            f"{path} holds no frames (frame_0000000001.jpg, img_00001.jpg, 00001.jpg or "
            f"{path.stem}-000001.jpg); {_FIX}"
        )
    ordered = sorted(places[prefix].items())
    end = max(offset + size for offset, size in places[prefix].values())
    if end > path.stat().st_size:
        raise UserError(f"{path} is cut short inside {last}; {_FIX}")
    numbers = np.array([number for number, _ in ordered], np.int64)
    return prefix, numbers, np.array([place for _, place in ordered], np.int64)
