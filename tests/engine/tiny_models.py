"""The smallest models of every kind, with distinct weights."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast.config import get_cfg
from slowfast.models import build_model

MODELS = ("SlowFast", "MultiTaskSlowFast", "ExoSlowFast", "EgoExoSlowFast")


def tiny_cfg(name: str = "MultiTaskSlowFast", **overrides: object) -> CfgNode:
    """Keyword arguments are keys with __ for the dots."""
    cfg = get_cfg()
    cfg.TASK = "epic100"
    cfg.MODEL.MODEL_NAME = name
    cfg.MODEL.NUM_CLASSES = 6
    cfg.MODEL.NUM_CLASSES_LIST = [5, 7]
    cfg.EXO.NUM_CLASSES_LIST = [4, 6]
    cfg.SUML.ENABLE = name == "EgoExoSlowFast"
    cfg.SUML.EMBED_DIM = 8
    cfg.RESNET.WIDTH_PER_GROUP = 4
    cfg.SLOWFAST.BETA_INV = 2
    for key, value in overrides.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def tiny_model(cfg: CfgNode, seed: int = 0) -> nn.Module:
    """Every weight and statistic is random, drawn from `seed`, so that none equals another's."""
    model = build_model(cfg)
    draw = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(seed + 1)
        else:
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.1)
    return model


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def assert_same(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same names with the same bits."""
    assert list(ours) == list(expected)
    for name, tensor in ours.items():
        assert tensor.dtype == expected[name].dtype, name
        assert torch.equal(tensor, expected[name]), name
