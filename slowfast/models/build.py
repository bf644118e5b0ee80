"""Models from a config, by MODEL.MODEL_NAME."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch import nn

from slowfast.config.derived import aligns, aligns_by_factor
from slowfast.models import ego_exo
from slowfast.models.backbone import Backbone
from slowfast.models.convolution import use_2d_convolutions
from slowfast.models.heads import Head
from slowfast.models.init import init_weights
from slowfast.models.norms import convert_norms
from slowfast.models.published_names import EXO_HEAD
from slowfast.models.recognizer import Recognizer
from slowfast.models.slowfast import NUM_BLOCKS, SlowFastBackbone
from slowfast.utils.errors import UserError

# Functions `cfg -> nn.Module`, by the name that MODEL.MODEL_NAME gives them.
MODEL_REGISTRY: Registry = Registry("MODEL")
# Pixels of the input that one position of s5 stands for.
_TOTAL_STRIDE = 32


def build_model(cfg: CfgNode) -> nn.Module:
    """The model on the CPU, with initial weights drawn from torch's generator.

    Raises: UserError for a MODEL.MODEL_NAME that is not registered.
    """
    return _build(cfg.MODEL.MODEL_NAME, cfg)


def build_test_model(cfg: CfgNode) -> nn.Module:
    """The part of the model that a test runs: of the dual model, the ego half."""
    name = cfg.MODEL.MODEL_NAME
    return _build("MultiTaskSlowFast" if name == "EgoExoSlowFast" else name, cfg)


def _build(name: str, cfg: CfgNode) -> nn.Module:
    if name not in MODEL_REGISTRY:
        known = ", ".join(sorted(known for known, _ in MODEL_REGISTRY))
        raise UserError(f"MODEL.MODEL_NAME {name!r} is unknown; use one of {known}")
    model: nn.Module = MODEL_REGISTRY.get(name)(cfg)
    _set_up(model, cfg)
    return model


def _set_up(model: nn.Module, cfg: CfgNode) -> None:
    """How the model computes: its values differ by rounding at most, but for BN.NORM_TYPE."""
    convert_norms(model, cfg.BN.NORM_TYPE)
    if cfg.MODEL.CONV_2D:
        use_2d_convolutions(model)
    if cfg.MODEL.CHANNELS_LAST:
        model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    for module in model.modules():
        if isinstance(module, Backbone):
            module.recompute_stages(cfg.MODEL.RECOMPUTE_STAGES)
            if cfg.MODEL.COMPILE:
                # In place, so that names of weights stay; it happens at the first pass.
                module.compile()


@MODEL_REGISTRY.register()
def SlowFast(cfg: CfgNode) -> Recognizer:
    """One task of MODEL.NUM_CLASSES."""
    layers = [f"head{cfg.TASK}.projection"]
    return build_recognizer(
        cfg, slowfast_backbone(cfg), [cfg.MODEL.NUM_CLASSES], layers, cfg.MODEL.HEAD_ACT
    )


@MODEL_REGISTRY.register()
def MultiTaskSlowFast(cfg: CfgNode) -> Recognizer:
    """The ego recogniser: one task per entry of MODEL.NUM_CLASSES_LIST."""
    counts = cfg.MODEL.NUM_CLASSES_LIST
    layers = _multi_task_layers(f"head{cfg.TASK}", counts)
    return build_recognizer(cfg, slowfast_backbone(cfg), counts, layers, cfg.MODEL.HEAD_ACT)


@MODEL_REGISTRY.register()
def ExoSlowFast(cfg: CfgNode) -> Recognizer:
    """The exo recogniser alone: tasks of EXO.NUM_CLASSES_LIST.

    A clip has several labels of a task at once, so its scores are sigmoids whatever
    MODEL.HEAD_ACT is.
    """
    counts = cfg.EXO.NUM_CLASSES_LIST
    layers = _multi_task_layers("readout", counts)
    return build_recognizer(cfg, slowfast_backbone(cfg), counts, layers, "sigmoid")


@MODEL_REGISTRY.register()
def EgoExoSlowFast(cfg: CfgNode) -> ego_exo.EgoExoSlowFast:
    """SUM-L: MultiTaskSlowFast and an exo half; parts whose losses all weigh 0 are not used."""
    counts = cfg.EXO.NUM_CLASSES_LIST
    layers = _multi_task_layers(EXO_HEAD, counts)
    weights = cfg.SUML.WEIGHTS
    by_factor = aligns_by_factor(cfg)
    by_clip = aligns(cfg) and not by_factor
    ego = MultiTaskSlowFast(cfg)
    model = ego_exo.EgoExoSlowFast(
        ego,
        build_recognizer(cfg, slowfast_backbone(cfg, frozen_stages=0), counts, layers, "sigmoid"),
        cfg.SUML.EMBED_DIM,
        use_exo_head=weights.EXO_CLS > 0,
        use_ego_projection=by_clip or weights.EGO_TEXT > 0,
        use_exo_projection=by_clip or weights.EXO_TEXT > 0,
        by_factor=by_factor,
    )
    for projection in model.projections:
        _init(projection, cfg)
    return model


def slowfast_backbone(cfg: CfgNode, frozen_stages: int | None = None) -> SlowFastBackbone:
    """The backbone of RESNET and SLOWFAST; frozen_stages None: MODEL.FREEZE_STAGES."""
    backbone = SlowFastBackbone(
        num_blocks=NUM_BLOCKS[cfg.RESNET.DEPTH],
        width=cfg.RESNET.WIDTH_PER_GROUP,
        alpha=cfg.SLOWFAST.ALPHA,
        beta_inv=cfg.SLOWFAST.BETA_INV,
        fusion_ratio=cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO,
        fusion_kernel=cfg.SLOWFAST.FUSION_KERNEL_SZ,
        temporal_blocks=cfg.RESNET.NUM_BLOCK_TEMP_KERNEL,
        strides=cfg.RESNET.SPATIAL_STRIDES,
        dilations=cfg.RESNET.SPATIAL_DILATIONS,
        groups=cfg.RESNET.NUM_GROUPS,
        inplace_relu=cfg.RESNET.INPLACE_RELU,
    )
    backbone.freeze_stages(cfg.MODEL.FREEZE_STAGES if frozen_stages is None else frozen_stages)
    return backbone


def build_recognizer(
    cfg: CfgNode,
    backbone: Backbone,
    num_classes: Sequence[int],
    published_layers: Sequence[str],
    activation: str,
) -> Recognizer:
    """`backbone` under a head as MODEL, DATA.CROP_SIZE and TEST.NO_ACT say, initialised."""
    head = Head(
        sum(backbone.out_channels),
        num_classes,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
        activation=activation,
        no_act=cfg.TEST.NO_ACT,
        window=cfg.DATA.CROP_SIZE // _TOTAL_STRIDE if cfg.MODEL.HEAD_POOL == "window" else None,
    )
    recognizer = Recognizer(backbone, head, published_layers)
    _init(recognizer, cfg)
    return recognizer


def _multi_task_layers(head: str, num_classes: Sequence[int]) -> list[str]:
    return [f"{head}.projections.{task}" for task in range(len(num_classes))]


def _init(module: nn.Module, cfg: CfgNode) -> None:
    init_weights(module, cfg.MODEL.FC_INIT_STD, cfg.RESNET.ZERO_INIT_FINAL_BN)
