"""Data sets and single clips by name and config: the entry point for the layers above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.config.heads import HeadSpec
from slowfast.datasets import ego_exo  # noqa: F401 (registers the joined set)
from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.from_cfg import segment_dataset
from slowfast.datasets.partial import LeftOut
from slowfast.datasets.registry import JOINED_REGISTRY, SOURCE_REGISTRY, build_source
from slowfast.datasets.segment_dataset import SPLITS
from slowfast.datasets.types import ClipSample, PairedSample, SampleKey, Segment, SegmentViews
from slowfast.utils.errors import UserError


class VideoDataset(Protocol):
    """Interface of every data set.

    segments: one per item, of the evaluated view.
    transform: turns the frames of the evaluated view into the model's input.
    left_out: segments of the list whose video is missing; None if every video exists.
    digests: hash of every input except the frames, by the name of the input; two data sets with
        the same digests give the same samples.
    """

    @property
    def segments(self) -> Sequence[Segment]: ...

    @property
    def transform(self) -> DeviceTransform: ...

    @property
    def left_out(self) -> LeftOut | None: ...

    @property
    def digests(self) -> Mapping[str, str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: int | SampleKey) -> ClipSample | PairedSample | SegmentViews: ...

    def clip(self, index: int, view: int | None = None) -> ClipSample:
        """The validation view of one segment, or its test view number `view`."""
        ...


def build_dataset(
    name: str,
    cfg: CfgNode,
    split: str,
    view: str = "",
    heads: tuple[HeadSpec, ...] | None = None,
) -> VideoDataset:
    """Build the data set that a config calls `name`; its length is the number of segments.

    split: train, val or test. An item is a ClipSample (train and val; a PairedSample in the
    training split of a joined set) or a SegmentViews (test).
    view: `ego` or `exo`, for a set that supports both; empty: the first view it supports.
    heads: heads of a one-view model; None: those that the config names for the view.

    Raises: UserError for an unknown name or for annotations or frames that do not fit.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, not one of {SPLITS}")
    if name in JOINED_REGISTRY:
        joined: VideoDataset = JOINED_REGISTRY.get(name)(cfg, split)
        return joined
    if name not in SOURCE_REGISTRY:
        known = ", ".join(sorted((*SOURCE_REGISTRY, *JOINED_REGISTRY)))
        raise UserError(f"data set {name!r} is not registered; choose one of {known}")
    view = view or SOURCE_REGISTRY.get(name).views[0]
    return segment_dataset(build_source(name, cfg, split, view), heads)


def load_clip(dataset: VideoDataset, index: int, view: int | None = None) -> list[Tensor]:
    """One clip as model input: [slow (3, A, S, S), fast (3, T, S, S)] float32, normalised.

    view: None for the validation view, else a test view, 0 <= view < views * crops.
    """
    batch = collate_clips([dataset.clip(index, view)])
    return [pathway[0] for pathway in dataset.transform.clips(batch)]
