"""Videos that are cut into files: one file per segment, or chunks named by their first second."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np

from slowfast.datasets.types import FrameSource, Segment
from slowfast.utils.errors import UserError

_CHUNK_NAME = re.compile(r"(\d+(?:\.\d+)?)\.(mp4|mkv|webm|avi|mov)", re.IGNORECASE)

# A video file, the segment on whose behalf it is read, and the frame number at its time 0.
OpenFile = Callable[[Path, Segment, float], FrameSource]


@dataclass(frozen=True)
class TrimmedClips:
    """Files of one segment each, `SEGMENT_ID.mp4` in a folder; time 0 is the segment's start."""

    folder: Path
    suffix: str

    def wanted(self, segment: Segment) -> Path:
        """Path of a segment's file, which may be missing."""
        return self.folder / f"{segment.segment_id}{self.suffix}"

    def path(self, segment: Segment) -> Path:
        """The file of a segment. Raises: UserError if it is missing."""
        path = self.wanted(segment)
        if not path.is_file():
            raise UserError(
                f"segment {segment.segment_id} has no clip {path}, unlike others of its video; "
                "copy it there, or set DATA.ON_MISSING_VIDEO skip"
            )
        return path

    def open(self, segment: Segment, open_file: OpenFile) -> FrameSource:
        """The frames of a segment; its numbers are those of the whole video."""
        return open_file(self.path(segment), segment, segment.start_frame)


class ClipFolders:
    """Folders of files of one segment each; every folder is listed once."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}

    def find(
        self, folder: Path, segments: Sequence[Segment], suffixes: Sequence[str]
    ) -> TrimmedClips | None:
        """The clips of these segments in a folder; None if it has none."""
        for suffix in suffixes:
            clips = TrimmedClips(folder, suffix)
            paths = (clips.wanted(segment) for segment in segments)
            if any(path.name in self._listed(path.parent) and path.is_file() for path in paths):
                return clips
        return None

    def _listed(self, folder: Path) -> set[str]:
        if folder not in self._names:
            found = folder.iterdir() if folder.is_dir() else ()
            self._names[folder] = {path.name for path in found}
        return self._names[folder]


@dataclass(frozen=True)
class ChunkedVideo:
    """A folder of files named after the second at which each begins: `0.mp4`, `15.mp4` ..."""

    folder: Path

    @staticmethod
    def find(folder: Path) -> ChunkedVideo | None:
        """The folder; None if it does not exist or holds no chunk."""
        if not folder.is_dir():
            return None
        chunked = ChunkedVideo(folder)
        return chunked if chunked.chunks else None

    @cached_property
    def chunks(self) -> list[tuple[float, Path]]:
        """(first second, file) of every chunk, in order."""
        named = ((_CHUNK_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted((float(name[1]), path) for name, path in named if name)

    def open(
        self, segment: Segment, open_file: OpenFile, first_number: float, fps: float
    ) -> ChunkedFrames:
        """The frames of a segment, which may run over several chunks.

        first_number: frame number at second 0 of the video. fps: rate of the frame numbers.
        """
        return ChunkedFrames(self, segment, open_file, first_number, fps)


class ChunkedFrames:
    """The frames of one segment of a chunked video."""

    def __init__(
        self,
        video: ChunkedVideo,
        segment: Segment,
        open_file: OpenFile,
        first_number: float,
        fps: float,
    ) -> None:
        self._video = video
        self._segment = segment
        self._open_file = open_file
        self._first_number = first_number
        self._fps = fps
        self._starts = [start for start, _ in video.chunks]
        # Raises for a segment that begins after the last frame of its chunk.
        self._source(self._chunk(segment.start_frame))

    def read(self, frame_numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """As FrameSource.read."""
        for chunk, numbers in groupby(frame_numbers, self._chunk):
            yield from self._source(chunk).read(list(numbers))

    def _chunk(self, number: int) -> int:
        """The chunk that holds a frame; the nearest one for a frame outside of the video."""
        # The small addend keeps a frame that begins exactly with its chunk, despite rounding.
        seconds = (number - self._first_number) / self._fps + 1e-6
        return max(bisect.bisect_right(self._starts, seconds) - 1, 0)

    def _source(self, chunk: int) -> FrameSource:
        start, path = self._video.chunks[chunk]
        return self._open_file(path, self._segment, self._first_number + start * self._fps)
