"""Clip geometry that a backbone was trained with, as defaults of the keys that describe clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast.utils.errors import UserError
from slowfast.utils.registry import Registry

# The backbone of this package; all others belong to a family, `FAMILY:NAME`.
OWN = "slowfast"
# The family of extracted features.
FEATURES = "features"


@dataclass(frozen=True)
class ClipGeometry:
    """num_frames: T. sampling_rate: step between two frames at 30 per second. size: S, pixels.

    mean, std: of pixels in 0..1, per channel. channel_order: at the model, rgb or bgr.
    """

    num_frames: int
    sampling_rate: int
    size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channel_order: str = "rgb"


# By family: name of a backbone in it -> its clips. Raises: UserError for an unknown name.
GEOMETRY_REGISTRY: Registry[Callable[[str], ClipGeometry]] = Registry(
    "family of backbones", "MODEL.BACKBONE", package="slowfast.models.backbones"
)


def split_name(backbone: str) -> tuple[str, str]:
    """(family, name) of MODEL.BACKBONE `FAMILY:NAME`."""
    family, _, name = backbone.partition(":")
    return family, name


def feature_width(backbone: str) -> int:
    """Channels of the features of MODEL.BACKBONE `features:WIDTH`. Raises: UserError."""
    family, width = split_name(backbone)
    if family != FEATURES or not re.fullmatch("[1-9][0-9]{0,6}", width):
        raise UserError(
            f"MODEL.BACKBONE or EXO.BACKBONE is {backbone}, not features:WIDTH; set it to the"
            " channels of the features, for example features:1024"
        )
    return int(width)


def geometry_of(backbone: str) -> ClipGeometry | None:
    """Clip geometry of a backbone by its config name; None for SlowFast, which has the defaults.

    Raises: UserError for an unknown family or name.
    """
    if backbone == OWN:
        return None
    family, name = split_name(backbone)
    return GEOMETRY_REGISTRY.get(family)(name)


def apply_geometry(cfg: CfgNode, given: Collection[str]) -> list[str]:
    """Set the keys that describe clips to those of MODEL.BACKBONE and EXO.BACKBONE.

    given: keys that a file or an override has set; they stay. Returns the keys that were set.
    """
    ego = geometry_of(cfg.MODEL.BACKBONE)
    exo = geometry_of(cfg.EXO.BACKBONE or cfg.MODEL.BACKBONE)
    values: dict[str, object] = {}
    if ego is not None:
        values |= {
            "DATA.NUM_FRAMES": ego.num_frames,
            "DATA.SAMPLING_RATE": ego.sampling_rate,
            "DATA.TRAIN_CROP_SIZE": ego.size,
            "DATA.TEST_CROP_SIZE": ego.size,
            "DATA.TRAIN_JITTER_SCALES": [ego.size, round(ego.size * 320 / 256)],
            "DATA.MEAN": list(ego.mean),
            "DATA.STD": list(ego.std),
            "DATA.CHANNEL_ORDER": ego.channel_order,
        }
    if exo is not None:
        values |= {
            "EXO.NUM_FRAMES": exo.num_frames,
            "EXO.SAMPLING_RATE": exo.sampling_rate,
            "EXO.CHANNEL_ORDER": exo.channel_order,
        }
    chosen = {key: value for key, value in values.items() if key not in given}
    for key, value in chosen.items():
        section, name = key.split(".")
        cfg[section][name] = value
    return list(chosen)
