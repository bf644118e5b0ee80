"""Digests of annotations: what makes two data sets different for a run.

Order and content count. The place and the format of a file do not, and frames are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from slowfast.datasets.pairing.label_map import ClassTable
from slowfast.datasets.registry import DataSource
from slowfast.datasets.types import Annotations, ImageListAnnotations, Segment, UnionAnnotations
from slowfast.utils.digests import array_digest, value_digest
from slowfast.utils.errors import UserError


def segments_digest(segments: Sequence[Segment]) -> str:
    """SHA-256 over ids, places and labels, in their order; narrations are not part of it."""
    rows = [
        [s.segment_id, s.video_id, s.start_frame, s.stop_frame, s.labels]
        # Only if there are any, so that the digests of other data sets stay the same.
        + ([s.occurrences] if s.occurrences else [])
        for s in segments
    ]
    return value_digest(rows)


def source_digests(source: DataSource, annotations: Annotations) -> dict[str, str]:
    """Digests of one split by the name of the input: `list`, and `class table` if it has one."""
    digests = {"list": _list_digest(annotations)}
    # A missing or damaged table is not reported here: only mining and zero-shot tests need it.
    with suppress(UserError):
        digests["class table"] = tables_digest(source.class_tables())
    return digests


def _list_digest(annotations: Annotations) -> str:
    parts: list[object] = [segments_digest(annotations.segments), annotations.class_names]
    if isinstance(annotations, ImageListAnnotations):
        images = sorted(annotations.image_paths.items())
        parts += [[video, array_digest(paths)] for video, paths in images]
    if isinstance(annotations, UnionAnnotations):
        parts += [_list_digest(part) for part in annotations.parts]
    return value_digest(parts)


def tables_digest(tables: Sequence[ClassTable]) -> str:
    return value_digest([[sorted(t.ids.items()), t.num_classes, t.keys] for t in tables])
