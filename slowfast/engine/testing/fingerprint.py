"""Keys of the scores and features of a test: everything they depend on, to detect stale ones.

A key is a nested mapping of plain values: weights, segments, and the config keys that matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.datasets.build import VideoDataset
from slowfast.datasets.from_cfg import resize_on_device
from slowfast.datasets.identity import segments_digest

Key = Mapping[str, Any]

_SECTIONS = {"ego": ("MODEL", "RESNET", "SLOWFAST", "DATA"), "exo": ("EXO",)}
# Keys that change values by rounding alone.
_ROUNDING = (
    *("MODEL.COMPILE", "MODEL.COMPILE_MODE", "MODEL.CHANNELS_LAST", "MODEL.CONV_2D"),
    *("MODEL.SPEED_OPTIONS", "TEST.FOLD_BN"),
)
# Keys of these sections that have no effect in a test, or are covered by weights or segments.
_IGNORED = frozenset(
    (
        *("MODEL.LOSS_FUNC", "MODEL.DROPOUT_RATE", "MODEL.FC_INIT_STD", "MODEL.FREEZE_STAGES"),
        *("MODEL.MODEL_NAME", "MODEL.RECOMPUTE_STAGES", "RESNET.INPLACE_RELU"),
        *("RESNET.ZERO_INIT_FINAL_BN", *_ROUNDING),
        *("DATA.PATH_TO_DATA_DIR", "DATA.TRAIN_JITTER_SCALES", "DATA.TRAIN_CROP_SIZE"),
        *("DATA.INV_UNIFORM_SAMPLE", "DATA.RANDOM_FLIP", "DATA.DECODER", "DATA.RESIZE_ON"),
        *("DATA.RETRIES", "DATA.ENSEMBLE_METHOD", "EXO.PATH_TO_DATA_DIR"),
        *("EXO.RANDOM_IN_VALIDATION", "EXO.LIGHTING_STD", "EXO.CHECKPOINT_FILE_PATH"),
        "EXO.FREEZE_STAGES",
    )
)


def view_key(cfg: CfgNode, view: str, weights: str, dataset: VideoDataset) -> dict[str, Any]:
    """Everything that the scores of the test views depend on, except for rounding.

    view: ego or exo, whose keys matter. weights: digest of the view's recogniser as it was loaded.
    """
    sections = [*_SECTIONS["ego"], *(_SECTIONS["exo"] if view == "exo" else ())]
    settings: dict[str, Any] = {}
    for section in sections:
        for name, value in cfg[section].items():
            if f"{section}.{name}" not in _IGNORED:
                settings[f"{section}.{name}"] = value
    settings["TEST.NUM_ENSEMBLE_VIEWS"] = cfg.TEST.NUM_ENSEMBLE_VIEWS
    settings["TEST.NUM_SPATIAL_CROPS"] = cfg.TEST.NUM_SPATIAL_CROPS
    settings["TEST.PRECISION"] = cfg.TEST.PRECISION
    settings["resized on the device"] = resize_on_device(cfg)
    key = {
        "view": view,
        "weights": weights,
        "segments": segments_digest(dataset.segments),
        "settings": settings,
    }
    if features := dataset.digests.get("features"):
        key["features"] = features
    return _plain(key)


def rounding_key(cfg: CfgNode, chunk_views: int, device: torch.device) -> dict[str, Any]:
    """Everything else that rounding depends on. chunk_views: views in one forward pass."""
    settings: dict[str, Any] = {"views in a forward pass": chunk_views}
    for name in _ROUNDING:
        section, key = name.split(".")
        settings[name] = cfg[section][key]
    return {"rounding": {**settings, "torch": torch.__version__, "device": device.type}}


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over names, types, shapes and bytes of all weights and statistics."""
    hashed = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        hashed.update(memoryview(raw.numpy()))
    return hashed.hexdigest()


def difference(found: Key, wanted: Key) -> str:
    """Describe the first difference among the entries of `wanted`; empty: none."""
    flat_found = dict(_leaves({name: found.get(name) for name in wanted}))
    flat_wanted = dict(_leaves(wanted))
    for name in sorted(flat_found.keys() | flat_wanted.keys()):
        ours, theirs = flat_wanted.get(name), flat_found.get(name)
        if ours != theirs:
            if all(isinstance(v, str) and len(v) == 64 for v in (ours, theirs)):
                return f"other {name}"
            return f"{name} {theirs!r} instead of {ours!r}"
    return ""


def _leaves(key: Key, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in key.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, "" if name in ("settings", "rounding") else f"{name}.")
        else:
            yield prefix + name, value


def _plain(key: Mapping[str, Any]) -> dict[str, Any]:
    """The value as JSON restores it: tuples become lists."""
    content: dict[str, Any] = json.loads(json.dumps(key))
    return content
