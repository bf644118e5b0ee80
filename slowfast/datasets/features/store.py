"""The features of the segments of a list, in memory.

Legend: V views of a segment, L tokens, F channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from slowfast.datasets.features.files import FeatureFile, read_feature_file
from slowfast.datasets.frames.missing import report_missing
from slowfast.datasets.types import FrameSource, Segment
from slowfast.utils.errors import UserError


class SegmentFeatures(NamedTuple):
    """views: (V, L, F), of the type of its file. weights: (V,) int64."""

    views: Tensor
    weights: Tensor


class FeatureStore:
    """Views of segments by id, in place of a `FrameStore`: it has features instead of frames.

    Only the segments that are asked for are kept, in the number format of their files.
    digest: of the ids and features of these segments.
    """

    def __init__(self, paths: Sequence[Path], segments: Sequence[Segment], width: int) -> None:
        """width: F. Raises: UserError for files that are damaged, or have another width."""
        self._paths = list(paths)
        self._found: dict[str, SegmentFeatures] = {}
        self.tokens = 0
        wanted = {segment.segment_id for segment in segments}
        hashed = hashlib.sha256()
        for path in paths:
            file = read_feature_file(path)
            self._check_shape(path, file, width)
            self._take(path, _selected(file, wanted), hashed)
        self.digest = hashed.hexdigest()

    def views_of(self, segment: Segment) -> SegmentFeatures:
        return self._found[segment.segment_id]

    def check(self, segments: Sequence[Segment]) -> None:
        """Raises: UserError naming a segment without features."""
        place = f"{self._paths[0].parent}"
        errors = {
            segment.segment_id: UserError(
                f"segment {segment.segment_id} has no features in {place}; extract those of this"
                " list, or set DATA.ON_MISSING_VIDEO skip"
            )
            for segment in segments
            if segment.segment_id not in self._found
        }
        report_missing(errors, len(segments))

    def open(self, segment: Segment) -> FrameSource:
        """Raises: UserError, because there are no frames."""
        raise UserError(
            f"segment {segment.segment_id} has no frames, only features (TRAIN.ON_FEATURES True)"
        )

    def _check_shape(self, path: Path, file: FeatureFile, width: int) -> None:
        tokens, channels = file.views.shape[1:]
        if channels != width:
            raise UserError(
                f"{path} has features of {channels} channels, but the backbone of the config is"
                f" features:{width}; set MODEL.BACKBONE or EXO.BACKBONE to features:{channels}"
            )
        if self.tokens and tokens != self.tokens:
            raise UserError(
                f"{path} has {tokens} tokens a view, but {self._paths[0]} has {self.tokens};"
                " extract all of them with one model"
            )
        self.tokens = tokens

    def _take(self, path: Path, file: FeatureFile, hashed: hashlib._Hash) -> None:
        if not bool(torch.isfinite(file.views).all()):
            raise UserError(f"{path} has features that are NaN or infinite; extract them again")
        counts = file.counts.tolist()
        parts = zip(file.views.split(counts), file.weights.split(counts), strict=True)
        for name, (views, weights) in zip(file.ids, parts, strict=True):
            if name in self._found:
                raise UserError(
                    f"segment {name} is in {path} twice, or in another file of features too; remove"
                    " one of them"
                )
            self._found[name] = SegmentFeatures(views, weights)
            hashed.update(f"{name} {views.dtype} {tuple(views.shape)}".encode())
        for tensor in (file.views, file.weights):
            hashed.update(tensor.contiguous().view(torch.uint8).numpy().data)


def _selected(file: FeatureFile, wanted: set[str]) -> FeatureFile:
    """The part of a file that belongs to the wanted segments, without a copy if all do."""
    kept = torch.tensor([name in wanted for name in file.ids], dtype=torch.bool)
    if bool(kept.all()):
        return file
    rows = kept.repeat_interleave(file.counts)
    names = [name for name in file.ids if name in wanted]
    return FeatureFile(names, file.views[rows], file.counts[kept], file.weights[rows])
