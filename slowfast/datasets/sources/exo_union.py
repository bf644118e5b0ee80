"""The exo sets of EXO and EXO.MORE as one list.

A segment has labels for the heads of its set, and none for the others. Ids of segments and
videos of a further set begin with `NAME/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import ExoSource, exo_sources, source_index
from slowfast.datasets.frames.missing import missing_collected, report_missing
from slowfast.datasets.registry import UNION, DataSource, build_source, register_source
from slowfast.datasets.types import Annotations, FrameSource, FrameStore, Segment, UnionAnnotations
from slowfast.utils.errors import UserError


@register_source(UNION, views=("exo",))
class ExoUnion(DataSource):
    """The sets of EXO and EXO.MORE, in this order. EXO.MORE selects it, not its name."""

    def __init__(self, cfg: CfgNode, split: str, view: str) -> None:
        super().__init__(cfg, split, view)
        self._sources = exo_sources(cfg)
        self._parts = [
            build_source(source.cfg.EXO.DATASET, source.cfg, split, view)
            for source in self._sources
        ]

    def annotations(self) -> UnionAnnotations:
        parts = []
        for source, part in zip(self._sources, self._parts, strict=True):
            with naming(source.name):
                parts.append(part.annotations())
        segments = union_segments(self._sources, [part.segments for part in parts])
        class_names = tuple(names for part in parts for names in part.class_names)
        if not all(part.class_names for part in parts):
            class_names = ()
        return UnionAnnotations(segments, class_names, parts=parts)

    def frames(self, annotations: Annotations) -> FrameStore:
        assert isinstance(annotations, UnionAnnotations)
        names = [source.name for source in self._sources]
        stores = []
        for name, part, given in zip(names, self._parts, annotations.parts, strict=True):
            with naming(name):
                stores.append(part.frames(given))
        return UnionFrames(names, stores)


def union_segments(
    sources: Sequence[ExoSource], parts: Sequence[Sequence[Segment]]
) -> list[Segment]:
    """The segments of all sets as one list. parts: the segments of each set.

    Raises: UserError for labels that do not fit the heads of the set, or an ambiguous id.
    """
    counts = [len(source.cfg.EXO.HEAD_NAMES) for source in sources]
    names = [source.name for source in sources]
    segments = []
    for number, part in enumerate(parts):
        before, after = sum(counts[:number]), sum(counts[number + 1 :])
        for segment in part:
            _check(segment, names, number, counts[number])
            segments.append(_named(_with_heads(segment, before, after), names[number]))
    return segments


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Context in which errors name the further exo set whose data are read."""
    try:
        yield
    except UserError as error:
        raise (UserError(_of_set(name, str(error))) if name else error) from None


def _of_set(name: str, text: str) -> str:
    return f"exo set {name}: {text}" if name else text


def _check(segment: Segment, names: Sequence[str], number: int, heads: int) -> None:
    name = names[number]
    if len(segment.labels) != heads:
        raise UserError(
            f"segment {segment.segment_id} of exo set {name or 'EXO'} has"
            f" {len(segment.labels)} kinds of labels, but its HEAD_NAMES has {heads}; name one"
            " head for each kind"
        )
    if not name and source_index(segment.segment_id, names):
        prefix = segment.segment_id.partition("/")[0]
        raise UserError(
            f"segment {segment.segment_id} of EXO begins with the name of an exo set of"
            f" EXO.MORE; give {prefix} another NAME"
        )


class UnionFrames:
    """The stores of several sets as one; `names` as in `source_index`."""

    def __init__(self, names: Sequence[str], stores: Sequence[FrameStore]) -> None:
        self._names = names
        self.stores = stores

    def open(self, segment: Segment) -> FrameSource:
        number = source_index(segment.segment_id, self._names)
        return self.stores[number].open(_original(segment, self._names[number]))

    def check(self, segments: Sequence[Segment]) -> None:
        for name, own, store in self.parts(segments):
            with missing_collected() as missing, naming(name):
                store.check(own)
            for videos in missing:
                reason = UserError(_of_set(name, videos.reason))
                errors = {_prefixed(name, video): reason for video in videos.names}
                report_missing(errors, videos.videos)

    def parts(self, segments: Sequence[Segment]) -> Iterator[tuple[str, list[Segment], FrameStore]]:
        """Name of each set, its segments as it names them, and its store."""
        for number, (name, store) in enumerate(zip(self._names, self.stores, strict=True)):
            own = [s for s in segments if source_index(s.segment_id, self._names) == number]
            yield name, [_original(segment, name) for segment in own], store


def _prefixed(name: str, identifier: str) -> str:
    return f"{name}/{identifier}" if name else identifier


def _with_heads(segment: Segment, before: int, after: int) -> Segment:
    """The segment with empty labels for the heads of other sets before and after its heads."""
    others, more = ((),) * before, ((),) * after
    times = segment.occurrences
    return replace(
        segment,
        labels=(*others, *segment.labels, *more),
        occurrences=(*others, *times, *more) if times else (),
    )


def _named(segment: Segment, name: str) -> Segment:
    return replace(
        segment,
        segment_id=_prefixed(name, segment.segment_id),
        video_id=_prefixed(name, segment.video_id),
    )


def _original(segment: Segment, name: str) -> Segment:
    """The segment as its own set names it."""
    if not name:
        return segment
    prefix = f"{name}/"
    return replace(
        segment,
        segment_id=segment.segment_id.removeprefix(prefix),
        video_id=segment.video_id.removeprefix(prefix),
    )
