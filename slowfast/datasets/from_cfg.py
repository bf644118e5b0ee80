"""What the builders of all data sets take from the config alike."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.transforms import Geometry
from slowfast.datasets.segment_dataset import TestViews


def geometry(cfg: CfgNode) -> Geometry:
    """Sizes of both views."""
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


def device_transform(cfg: CfgNode, channel_order: str) -> DeviceTransform:
    """The transform of a view whose channels stand in `channel_order` before the reversal key."""
    if cfg.DATA.REVERSE_INPUT_CHANNEL:
        channel_order = channel_order[::-1]
    return DeviceTransform(cfg.DATA.MEAN, cfg.DATA.STD, channel_order, cfg.SLOWFAST.ALPHA)


def resize_on_device(cfg: CfgNode) -> bool:
    """Whether DATA.RESIZE_ON leaves the resize to the device; `auto` does where that is CUDA."""
    if cfg.DATA.RESIZE_ON == "auto":
        return cfg.NUM_GPUS > 0 and torch.cuda.is_available()
    return bool(cfg.DATA.RESIZE_ON == "device")
