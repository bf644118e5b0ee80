"""The videos of a CSV list: errors name the row, and segments must fit into their videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slowfast.datasets.frames.clip_files import TrimmedClips
from slowfast.datasets.frames.image_files import Decoder
from slowfast.datasets.frames.store import Place, VideoStore
from slowfast.datasets.frames.video_folder import VideoFolder
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError

# Time by which a segment may end after its video: durations are often rounded up.
_SLACK_SEC = 0.5


class ListedVideos(VideoStore):
    """A VideoStore of the rows of a list.

    lines: file and line by segment id. fps: frames per second of the frame numbers; None: they
    count the frames of each video. Further arguments as VideoStore.
    """

    def __init__(
        self,
        roots: Sequence[str],
        decode: Decoder,
        *,
        lines: Mapping[str, str],
        fps: float | None,
        **options: Any,
    ) -> None:
        rate = None if fps is None else _ConstantRate(fps)
        super().__init__(roots, decode, number_fps=rate, **options)
        self._lines = lines
        self._fps = fps

    def check(self, segments: Sequence[Segment]) -> None:
        """As VideoStore.check. Raises: UserError also for a segment beyond the end of its video."""
        super().check(segments)
        latest: dict[str, Segment] = {}
        for segment in segments:
            known = latest.setdefault(segment.video_id, segment)
            if segment.stop_frame > known.stop_frame:
                latest[segment.video_id] = segment
        for segment in latest.values():
            self._check_end(segment)

    def _check_end(self, segment: Segment) -> None:
        _, place = self._places.get(segment.video_id, ("", None))
        # Missing videos were already reported; a trimmed clip may be shorter than its row.
        if place is None or isinstance(place, TrimmedClips) or segment.video_id in self._unreadable:
            return
        if isinstance(place, VideoFolder):
            number = segment.stop_frame + self._frame_offset + place.numbering
            if Path(place.file(number)).is_file():
                return  # without listing the folder
        last = self.frame_range(segment)[1]
        slack = 1.0 if self._fps is None else max(1.0, _SLACK_SEC * self._fps)
        if segment.start_frame <= last and segment.stop_frame <= last + slack:
            return
        if self._fps is None:
            end, length, column = f"frame {segment.stop_frame}", f"{last} frames", "stop_frame"
        else:
            end = f"second {segment.stop_frame / self._fps:.2f}"
            length, column = f"{last / self._fps:.2f} seconds", "stop_sec"
        raise UserError(
            f"{self._lines[segment.segment_id]} ends at {end}, but video {segment.video_id} has"
            f" {length}; correct {column}, or copy the whole video"
        )

    def _find(self, segments: Sequence[Segment]) -> tuple[str, Place]:
        try:
            return super()._find(segments)
        except UserError as error:
            raise UserError(f"{self._lines[segments[0].segment_id]}: {error}") from None

    def _index_whole_files(self, segments: Sequence[Segment]) -> dict[str, UserError]:
        lines = {s.video_id: self._lines[s.segment_id] for s in reversed(segments)}
        errors = super()._index_whole_files(segments)
        return {v: UserError(f"{lines[v]}: {error}") for v, error in errors.items()}


class _ConstantRate:
    """The same rate of frame numbers for every video."""

    def __init__(self, fps: float) -> None:
        self._fps = fps

    def __call__(self, video_id: str) -> float:
        return self._fps
