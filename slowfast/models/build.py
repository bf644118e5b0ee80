"""Models from a config, by MODEL.MODEL_NAME."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.models.backbone import Backbone
from slowfast.models.convolution import Conv3d, use_2d_convolutions
from slowfast.models.heads import Head
from slowfast.models.init import init_weights
from slowfast.models.norms import convert_norms
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import MODEL_REGISTRY, ModelSpec, model_spec
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Compiled variants of a backbone that may exist at once.
_MAX_GRAPHS = 32


def build_model(cfg: CfgNode) -> nn.Module:
    """The model on the CPU, with initial weights drawn from torch's generator.

    Raises: UserError for a MODEL.MODEL_NAME that is not registered.
    """
    return _build(model_spec(cfg), cfg)


def build_test_model(cfg: CfgNode) -> nn.Module:
    """The part of the model that a test runs: of a dual model, the ego half."""
    spec = model_spec(cfg)
    return _build(MODEL_REGISTRY.get(spec.tested_as) if spec.tested_as else spec, cfg)


def build_recognizer(
    cfg: CfgNode,
    backbone: Backbone,
    num_classes: Sequence[int],
    published_layers: Sequence[str],
    activation: str,
    *,
    is_built: bool = False,
) -> Recognizer:
    """`backbone` and an initialised head, configured by MODEL, DATA.CROP_SIZE and TEST.NO_ACT.

    is_built: the backbone already has its weights, like a shared one.
    """
    window = max(cfg.DATA.CROP_SIZE // backbone.stride, 1)
    head = Head(
        sum(backbone.out_channels),
        num_classes,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
        activation=activation,
        no_act=cfg.TEST.NO_ACT,
        window=window if cfg.MODEL.HEAD_POOL == "window" else None,
        probe_channels=backbone.out_channels if cfg.MODEL.PROBE == "attentive" else (),
    )
    recognizer = Recognizer(backbone, head, published_layers)
    keeps = is_built or backbone.keeps_own_init
    initialise(recognizer.head if keeps else recognizer, cfg)
    return recognizer


def initialise(module: nn.Module, cfg: CfgNode) -> None:
    """Initialise the weights by MODEL.FC_INIT_STD and RESNET.ZERO_INIT_FINAL_BN."""
    init_weights(module, cfg.MODEL.FC_INIT_STD, cfg.RESNET.ZERO_INIT_FINAL_BN)


def _build(spec: ModelSpec, cfg: CfgNode) -> nn.Module:
    model = spec.build(cfg)
    _set_up(model, cfg)
    return model


def _set_up(model: nn.Module, cfg: CfgNode) -> None:
    """Apply the options of how the model computes. All except BN.NORM_TYPE only change rounding."""
    convert_norms(model, cfg.BN.NORM_TYPE, on_cpu=cfg.NUM_GPUS == 0)
    fast_on_cpu = cfg.MODEL.SPEED_OPTIONS == "auto" and _is_faster_as_2d(model, cfg)
    if cfg.MODEL.CONV_2D or fast_on_cpu:
        use_2d_convolutions(model)
    if cfg.MODEL.CHANNELS_LAST or fast_on_cpu:
        _store_channels_last(model)
    backbones = [module for module in model.modules() if isinstance(module, Backbone)]
    _check_recomputed(backbones, cfg.MODEL.RECOMPUTE_STAGES)
    for backbone in backbones:
        backbone.recompute_stages(cfg.MODEL.RECOMPUTE_STAGES)
        if cfg.MODEL.COMPILE:
            _compile(backbone, cfg.MODEL.COMPILE_MODE)


def _compile(backbone: Backbone, mode: str) -> None:
    """In place, so that the names of weights do not change; it is compiled at the first pass."""
    import torch._dynamo

    # Each half, mode, precision and crop size, and one clip or several, need a separate graph.
    # Beyond torch's limit of 8, further ones would run without compilation.
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, _MAX_GRAPHS)
    backbone.compile(mode=mode)


def _is_faster_as_2d(model: nn.Module, cfg: CfgNode) -> bool:
    """Whether channels last and 2-D convolutions were measured to be faster; logs the choice.

    docs/benchmarks.md has the figures.
    """
    if cfg.NUM_GPUS > 0:
        reason = "no further option, since none has been measured on CUDA"
    elif not any(isinstance(module, Conv3d) for module in model.modules()):
        reason = "no further option, since none has been measured for this backbone"
    else:
        logger.info(
            "MODEL.SPEED_OPTIONS auto: channels last and 2-D convolutions, measured to be faster "
            "on a CPU"
        )
        return True
    logger.info("MODEL.SPEED_OPTIONS auto: %s", reason)
    return False


def _store_channels_last(model: nn.Module) -> None:
    """As `model.to(memory_format=...)`, which refuses fake tensors."""
    for weight in model.parameters():
        if weight.dim() == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)


def _check_recomputed(backbones: Sequence[Backbone], names: Sequence[str]) -> None:
    """Raises: UserError for a stage that no backbone of the model has."""
    stages = dict.fromkeys(stage for backbone in backbones for stage in backbone.stages)
    if unknown := [name for name in names if name not in stages]:
        raise UserError(
            f"MODEL.RECOMPUTE_STAGES names {', '.join(unknown)}, but the model has the stages"
            f" {', '.join(stages) or '(none)'}; choose any of these"
        )
