"""Tiny models and clips."""

from collections.abc import Callable

import pytest
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast.config import get_cfg
from slowfast.models import build_model


@pytest.fixture
def make_cfg() -> Callable[..., CfgNode]:
    """The smallest model of a name; keyword arguments are keys with __ for the dots."""

    def make(name: str = "EgoExoSlowFast", **overrides: object) -> CfgNode:
        cfg = get_cfg()
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

    return make


@pytest.fixture
def make_model(make_cfg: Callable[..., CfgNode]) -> Callable[..., nn.Module]:
    """A tiny model with weights of seed 0; arguments as of `make_cfg`."""

    def make(name: str = "EgoExoSlowFast", **overrides: object) -> nn.Module:
        torch.manual_seed(0)
        return build_model(make_cfg(name, **overrides))

    return make


@pytest.fixture
def make_clip() -> Callable[..., list[Tensor]]:
    """[slow (N, 3, T/alpha, S, S), fast (N, 3, T, S, S)], normal random."""

    def make(
        seed: int = 0, clips: int = 2, frames: int = 8, size: int = 32, alpha: int = 4
    ) -> list[Tensor]:
        draw = torch.Generator().manual_seed(seed)
        fast = torch.randn(clips, 3, frames, size, size, generator=draw)
        return [fast[:, :, ::alpha].contiguous(), fast]

    return make


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    """Gives every weight and running statistic of a model a random value, so that none hides."""

    def fill(model: nn.Module) -> nn.Module:
        draw = torch.Generator().manual_seed(1)
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draw))
            elif tensor.is_floating_point():
                fan_in = max(tensor[0].numel() if tensor.ndim > 1 else 4, 1)
                tensor.copy_(torch.randn(tensor.shape, generator=draw) / fan_in**0.5)
        return model

    return fill
