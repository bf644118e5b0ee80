"""Segments whose samples are features instead of clips.

Legend: N clips, V views of a segment, L tokens, F channels. Features take the place of frames:
a clip of one "frame" (1, L, F).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.labels import label_table
from slowfast.datasets.clips.settings import ClipSettings
from slowfast.datasets.features.store import FeatureStore, SegmentFeatures
from slowfast.datasets.partial import LeftOut
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import (
    ClipBatch,
    ClipSample,
    SampleKey,
    Segment,
    SegmentViews,
    View,
)


class FeatureTransform(DeviceTransform):
    """Features of a batch (N, 1, L, F) -> [(N, F, L, 1, 1)] float32, as a backbone gives them."""

    def __init__(self) -> None:
        """Features are neither normalised nor reordered."""
        super().__init__((), (), "bgr", 1)

    def clips(self, batch: ClipBatch) -> list[Tensor]:
        return [batch.frames.flatten(1, 2).transpose(1, 2).float()[..., None, None]]


class FeatureDataset(SegmentDataset):
    """As SegmentDataset, with the stored views of a segment in place of clips.

    train: a view at random. val: the middle view. test: all views, with their weights.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        split: str,
        features: FeatureStore,
        settings: ClipSettings,
        digests: Mapping[str, str] | None = None,
        left_out: LeftOut | None = None,
    ) -> None:
        digests = {**(digests or {}), "features": features.digest}
        super().__init__(segments, split, features, settings, digests, left_out)
        self.features = features
        self._labels = [
            label_table([segment.labels[task] for segment in segments], head)
            for task, head in enumerate(settings.heads)
        ]

    def labels(self, index: int) -> tuple[Tensor, ...]:
        """As SegmentDataset, from tables: new tensors would take longer than the features."""
        return tuple(task[index] for task in self._labels)

    def train_clip(self, key: SampleKey) -> ClipSample:
        views = self._features(key.index).views
        return self._view(key.index, views, int(self._generator(key).integers(len(views))))

    def validation_clip(self, key: SampleKey) -> ClipSample:
        views = self._features(key.index).views
        return self._view(key.index, views, len(views) // 2)

    def test_clip(self, index: int, view: int) -> ClipSample:
        views = self._features(index).views
        if not 0 <= view < len(views):
            raise IndexError(f"view {view} of {len(views)}")
        return self._view(index, views, view)

    def segment_views(self, index: int) -> SegmentViews:
        views, weights = self._features(index)
        counts = weights.tolist()
        return SegmentViews(
            frames=views,
            views=[View((number,), 0, 0, weight) for number, weight in enumerate(counts)],
            labels=self.labels(index),
            index=index,
            # Nothing is cut off.
            crop_size=max(views.shape[1:]),
        )

    def item_bytes(self) -> int:
        views = self._features(0).views
        return (views.nbytes if self.split == "test" else views[0].nbytes) if len(self) else 0

    def _features(self, index: int) -> SegmentFeatures:
        return self.features.views_of(self.segments[index])

    def _view(self, index: int, views: Tensor, view: int) -> ClipSample:
        return ClipSample(views[view : view + 1], self.labels(index), index)
