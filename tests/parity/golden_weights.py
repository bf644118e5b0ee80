"""The published models in our terms, with the deterministic weights of the stored cases."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast.config import get_cfg
from slowfast.models.published_names import published_state_dict

MODEL_NAMES = {
    "SlowFast_LEMMA3S_PHRASE_EP_HOI_2S": "EgoExoSlowFast",
    "BiFusedModel_SF": "ExoSlowFast",
}
# What shapes the network; the rest of a manifest's options has no counterpart here.
CONFIG_KEYS = (
    *("TASK", "MODEL.NUM_CLASSES", "MODEL.NUM_CLASSES_LIST", "MODEL.DROPOUT_RATE"),
    *("MODEL.HEAD_ACT", "RESNET.DEPTH", "RESNET.WIDTH_PER_GROUP", "RESNET.NUM_GROUPS"),
    *("RESNET.NUM_BLOCK_TEMP_KERNEL", "RESNET.SPATIAL_STRIDES", "RESNET.SPATIAL_DILATIONS"),
    *("RESNET.ZERO_INIT_FINAL_BN", "SLOWFAST.ALPHA", "SLOWFAST.BETA_INV"),
    *("SLOWFAST.FUSION_CONV_CHANNEL_RATIO", "SLOWFAST.FUSION_KERNEL_SZ"),
)
ALPHA = 4


def manifest(golden: Path, name: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((golden / f"manifest_{name}.json").read_text())
    return stored


def manifest_cfg(stored: dict[str, Any]) -> CfgNode:
    """The config of a manifest's model."""
    options = stored["config"]
    cfg = get_cfg()
    for key in CONFIG_KEYS:
        cfg.merge_from_list([key, options[key]])
    name = options["MODEL.MODEL_NAME"]
    cfg.MODEL.MODEL_NAME = MODEL_NAMES.get(name, name)
    cfg.SUML.ENABLE = cfg.MODEL.MODEL_NAME == "EgoExoSlowFast"
    return cfg


def fill_weights(golden: Path) -> ModuleType:
    """The module that defines the stored weights and inputs."""
    spec = importlib.util.spec_from_file_location("fill_weights", golden / "fill_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(golden: Path, model: nn.Module) -> nn.Module:
    """Give `model` the stored weights, by published name."""
    weights = fill_weights(golden)
    for name, tensor in published_state_dict(model).items():
        if not name.endswith("num_batches_tracked"):
            tensor.copy_(torch.from_numpy(weights.golden_array(name, tensor.shape)))
    return model


def golden_clip(golden: Path, seed: int, shape: tuple[int, ...]) -> list[Tensor]:
    """[slow, fast] of the stored input (N, 3, T, H, W): slow frames floor(i (T-1) / (n-1))."""
    fast = torch.from_numpy(fill_weights(golden).golden_input(seed, tuple(shape)))
    frames = fast.shape[2]
    count = frames // ALPHA
    picked = [i * (frames - 1) // (count - 1) for i in range(count)]
    return [fast[:, :, picked], fast]


def largest_difference(ours: Any, stored: Any) -> float:
    """Largest absolute difference over the largest stored value."""
    ours, stored = np.asarray(ours, np.float64), np.asarray(stored, np.float64)
    assert ours.shape == stored.shape
    return float(np.abs(ours - stored).max() / np.abs(stored).max())
