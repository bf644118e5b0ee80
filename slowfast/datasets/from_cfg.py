"""Builds the data set of one view from its source and the config."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode

from slowfast.config.clip_geometry import feature_width
from slowfast.config.derived import alpha_of, backbone_of
from slowfast.config.heads import HeadSpec, heads_of
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.settings import ClipSettings
from slowfast.datasets.clips.transforms import Geometry
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.features.dataset import FeatureDataset, FeatureTransform
from slowfast.datasets.features.files import feature_files
from slowfast.datasets.features.store import FeatureStore
from slowfast.datasets.identity import source_digests
from slowfast.datasets.partial import present_segments
from slowfast.datasets.registry import DataSource
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import Annotations, FrameStore, Segment
from slowfast.utils.digests import value_digest
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream


def segment_dataset(
    source: DataSource,
    heads: tuple[HeadSpec, ...] | None = None,
    annotations: Annotations | None = None,
) -> SegmentDataset:
    """The clips of a source.

    heads: heads of their labels; None: those of the config. annotations: checked ones of the
    source, if they have been read before.

    Raises: UserError for bad annotations or frames.
    """
    heads = heads_of(source.cfg, source.view) if heads is None else heads
    if annotations is None:
        annotations = checked_annotations(source, heads)
    frames = frames_of(source, annotations)
    segments, left_out = present_segments(
        annotations.segments,
        frames,
        heads,
        skip=source.cfg.DATA.ON_MISSING_VIDEO == "skip",
        what=f"{source.view} data, split {source.split}",
    )
    settings = clip_settings(source.cfg, source.view, heads)
    digests = source_digests(source, annotations)
    if left_out is not None:
        digests["videos"] = value_digest(left_out.kept.tolist())
    if isinstance(frames, FeatureStore):
        return FeatureDataset(segments, source.split, frames, settings, digests, left_out)
    return SegmentDataset(segments, source.split, frames, settings, digests, left_out)


def frames_of(source: DataSource, annotations: Annotations) -> FrameStore | FeatureStore:
    """The frames of a source, or with TRAIN.ON_FEATURES its features (FEATURES.EGO, EXO)."""
    cfg, name = source.cfg, source.view.upper()
    if not cfg.TRAIN.ON_FEATURES:
        return source.frames(annotations)
    paths = feature_files(cfg.FEATURES[name], f"FEATURES.{name}")
    width = feature_width(backbone_of(cfg, source.view))
    return FeatureStore(paths, annotations.segments, width)


def checked_annotations(
    source: DataSource, heads: tuple[HeadSpec, ...] | None = None
) -> Annotations:
    """The annotations of a source, with labels that fit the heads; arguments as above."""
    annotations = source.annotations()
    if not annotations.segments:
        raise UserError(f"{source.view} data, split {source.split}: the data set has no segments")
    heads = heads_of(source.cfg, source.view) if heads is None else heads
    _check_labels(annotations.segments, source.view, heads)
    return annotations


def clip_settings(cfg: CfgNode, view: str, heads: tuple[HeadSpec, ...]) -> ClipSettings:
    """Clip settings of a view: DATA keys for both views, EXO keys for the exo view."""
    is_exo = view == "exo"
    return ClipSettings(
        sampling=exo_sampling(cfg) if is_exo else ego_sampling(cfg),
        geometry=geometry(cfg),
        views=test_views(cfg),
        heads=heads,
        transform=device_transform(cfg, view),
        seed=cfg.RNG_SEED,
        stream=Stream.EXO if is_exo else Stream.EGO,
        lighting_std=cfg.EXO.LIGHTING_STD if is_exo else 0.0,
        random_in_validation=bool(is_exo and cfg.EXO.RANDOM_IN_VALIDATION),
        resize_on_device=resize_on_device(cfg),
    )


def ego_sampling(cfg: CfgNode) -> ClipSampling:
    """Temporal sampling of ego clips."""
    return ClipSampling(cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE)


def exo_sampling(cfg: CfgNode) -> ClipSampling:
    """Temporal sampling of exo clips."""
    return ClipSampling(cfg.EXO.NUM_FRAMES, cfg.EXO.SAMPLING_RATE, position=cfg.EXO.CLIP_POSITION)


def geometry(cfg: CfgNode) -> Geometry:
    """Resize and crop sizes, shared by both views."""
    return Geometry(
        jitter_scales=tuple(cfg.DATA.TRAIN_JITTER_SCALES),
        train_crop=cfg.DATA.TRAIN_CROP_SIZE,
        test_crop=cfg.DATA.TEST_CROP_SIZE,
        inverse_uniform=cfg.DATA.INV_UNIFORM_SAMPLE,
        flip=cfg.DATA.RANDOM_FLIP,
    )


def test_views(cfg: CfgNode) -> TestViews:
    """Views per segment in test."""
    return TestViews(cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS)


def device_transform(cfg: CfgNode, view: str) -> DeviceTransform:
    """Transform of the frames (TRAIN.ON_FEATURES: features) of a view into the model's input."""
    if cfg.TRAIN.ON_FEATURES:
        return FeatureTransform()
    channel_order = cfg.EXO.CHANNEL_ORDER if view == "exo" else cfg.DATA.CHANNEL_ORDER
    if cfg.DATA.REVERSE_INPUT_CHANNEL:
        channel_order = channel_order[::-1]
    return DeviceTransform(cfg.DATA.MEAN, cfg.DATA.STD, channel_order, alpha_of(cfg, view))


def resize_on_device(cfg: CfgNode) -> bool:
    """Whether DATA.RESIZE_ON leaves the resize to the device; `auto` does on CUDA."""
    if cfg.DATA.RESIZE_ON == "auto":
        return cfg.NUM_GPUS > 0 and torch.cuda.is_available()
    return bool(cfg.DATA.RESIZE_ON == "device")


def _check_labels(segments: list[Segment], view: str, heads: tuple[HeadSpec, ...]) -> None:
    """Check the labels. Raises: UserError for a label that is not a class of its head."""
    section = "EXO" if view == "exo" else "MODEL"
    for segment in segments:
        if len(segment.labels) != len(heads):
            raise UserError(
                f"segment {segment.segment_id} has {len(segment.labels)} kinds of labels, but"
                f" {section}.HEAD_NAMES is {[head.name for head in heads]}; name one head for each"
                f" kind, and its number of classes in {section}.NUM_CLASSES_LIST"
            )
        for head, classes in zip(heads, segment.labels, strict=True):
            if classes and not 0 <= min(classes) <= max(classes) < head.num_classes:
                raise UserError(
                    f"segment {segment.segment_id} has {head.name} {list(classes)}, outside the"
                    f" {head.num_classes} classes of {section}.NUM_CLASSES_LIST; set the key to"
                    " the class counts of the data set"
                )
