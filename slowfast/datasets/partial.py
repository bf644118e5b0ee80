"""Lists with missing videos (DATA.ON_MISSING_VIDEO skip), and what is lost with them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec
from slowfast.datasets.frames.missing import missing_collected
from slowfast.datasets.types import FrameStore, Segment
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeftOut:
    """Segments of a list that its data set lacks.

    listed: all segments of the list. kept: positions (n,) int64 of those whose video exists.
    videos: number of missing videos.
    """

    listed: Sequence[Segment]
    kept: NDArray[np.int64]
    videos: int

    def counts(self, heads: Sequence[HeadSpec]) -> dict[str, Any]:
        """Listed and used segments, and classes without a used segment, for results and logs."""
        used = [self.listed[position] for position in self.kept.tolist()]
        return {
            "listed": len(self.listed),
            "used": len(used),
            "missing_videos": self.videos,
            "classes_left_out": {
                head.name: len(_classes(self.listed, k) - _classes(used, k))
                for k, head in enumerate(heads)
            },
        }


class PresentClips(Protocol):
    """Clips of a list. left_out: None if the list is complete."""

    @property
    def segments(self) -> Sequence[Segment]: ...

    @property
    def left_out(self) -> LeftOut | None: ...


def listed_segments(clips: PresentClips) -> Sequence[Segment]:
    """The whole list, which pair tables are mined for."""
    return clips.segments if clips.left_out is None else clips.left_out.listed


def kept_positions(clips: PresentClips) -> NDArray[np.int64]:
    """(n,) positions in the whole list of the segments whose video exists."""
    return np.arange(len(clips.segments)) if clips.left_out is None else clips.left_out.kept


def present_segments(
    segments: Sequence[Segment],
    frames: FrameStore,
    heads: Sequence[HeadSpec],
    *,
    skip: bool,
    what: str,
) -> tuple[list[Segment], LeftOut | None]:
    """The segments whose video exists, and what was left out.

    skip: leave out segments without a video. what: the list, for messages.

    Raises: UserError for a missing video without `skip`, and if no video exists.
    """
    if not skip:
        frames.check(segments)
        return list(segments), None
    with missing_collected() as missing:
        frames.check(segments)
    # Of videos, or of segments with one file each.
    lost = {name for videos in missing for name in videos.names}
    if not lost:
        return list(segments), None
    kept = np.array(
        [k for k, s in enumerate(segments) if not {s.video_id, s.segment_id} & lost], np.int64
    )
    if not len(kept):
        raise UserError(f"{what}: all of its videos are missing: {missing[0].reason}")
    left_out = LeftOut(segments, kept, len(lost))
    counts = left_out.counts(heads)
    logger.warning(
        "%s: %d of %d segments are left out, because %d videos are missing (DATA.ON_MISSING_VIDEO "
        "skip); classes without a segment now: %s",
        what,
        counts["listed"] - counts["used"],
        counts["listed"],
        left_out.videos,
        ", ".join(f"{n} of {name}" for name, n in counts["classes_left_out"].items()) or "no heads",
    )
    return [segments[k] for k in kept.tolist()], left_out


def _classes(segments: Sequence[Segment], head: int) -> set[int]:
    return {k for segment in segments for k in segment.labels[head]}
