"""Checks of the segments and frames of one list, for the dry run and tools/check_data.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from slowfast.config.heads import HeadSpec
from slowfast.datasets.features.store import FeatureStore
from slowfast.datasets.frames.missing import MissingVideos
from slowfast.datasets.sources.exo_union import UnionFrames
from slowfast.datasets.types import FrameStore, Segment
from slowfast.engine.preflight.findings import Findings
from slowfast.utils.errors import UserError

# Segments of which one frame is decoded.
_SAMPLE = 24
# Faults of one kind that are shown in full.
_SHOWN = 20


def check_clips(
    findings: Findings,
    title: str,
    segments: Sequence[Segment],
    frames: FrameStore,
    missing: Sequence[MissingVideos] = (),
) -> None:
    """Report every video whose frames do not cover its segments, and decode a sample of frames.

    Of several exo sets, each is checked by itself. missing: what `FrameStore.check` found, which is
    left out. Features have no frames to look at.
    """
    if isinstance(frames, FeatureStore):
        return
    lost = {name for videos in missing for name in videos.names}
    segments = [s for s in segments if not {s.video_id, s.segment_id} & lost]
    if isinstance(frames, UnionFrames):
        for name, own, store in frames.parts(segments):
            check_clips(findings, f"{title} {name or 'EXO'}", own, store)
        return
    check = getattr(frames, "faults", None)
    faults = list(check(segments)) if check else []
    for fault in faults[:_SHOWN]:
        findings.wrong(title, fault)
    if len(faults) > _SHOWN:
        findings.wrong(title, f"{len(faults) - _SHOWN} more videos with faults like these")
    sizes: Counter[tuple[int, int]] = Counter()
    for segment, picture in _decoded(findings, title, segments, frames):
        if picture.std() == 0:
            findings.say(title, f"the middle frame of {segment.segment_id} has one colour only")
        sizes[picture.shape[1], picture.shape[0]] += 1
    if sizes:
        shown = ", ".join(f"{w}x{h} ({n})" for (w, h), n in sizes.most_common(4))
        findings.say(title, f"{sum(sizes.values())} pictures decoded: {shown}")


def _decoded(
    findings: Findings, title: str, segments: Sequence[Segment], frames: FrameStore
) -> Iterator[tuple[Segment, np.ndarray]]:
    """The middle frame of segments that are evenly spread over the list."""
    places = np.unique(np.linspace(0, len(segments) - 1, _SAMPLE).round().astype(int))
    for place in places.tolist() if segments else ():
        segment = segments[place]
        middle = (segment.start_frame + segment.stop_frame) // 2
        try:
            for picture in frames.open(segment).read([middle]):
                yield segment, picture
        except UserError as error:
            findings.wrong(title, str(error))


def describe_segments(
    findings: Findings, title: str, segments: Sequence[Segment], heads: Sequence[HeadSpec]
) -> None:
    """Describe a list: numbers of segments, videos, narrations and classes."""
    videos = {segment.video_id for segment in segments}
    lengths = np.array([segment.num_frames for segment in segments])
    findings.say(
        title,
        f"{len(segments)} segments of {len(videos)} videos, {int(lengths.min())} to "
        f"{int(lengths.max())} frames, half of them {int(np.median(lengths))} or shorter",
    )
    for position, head in enumerate(heads):
        labels = [segment.labels[position] for segment in segments]
        classes = {k for ids in labels for k in ids}
        without = sum(not ids for ids in labels)
        note = f", {without} segments without one" if without else ""
        findings.say(title, f"{head.name}: {len(classes)} of {head.num_classes} classes{note}")
    narrations = Counter(segment.narration.strip() for segment in segments)
    empty = narrations.pop("", 0)
    note = f", {empty} segments without one" if empty else ""
    findings.say(title, f"{len(narrations)} distinct narrations{note}")
