"""Recognisers of one view: SlowFast backbones with one or more heads."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.heads import ego_heads, exo_heads, single_head
from slowfast.models.build import build_recognizer
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import register_model
from slowfast.models.slowfast import NUM_BLOCKS, SlowFastBackbone


@register_model(views=("ego",), heads=single_head)
def SlowFast(cfg: CfgNode) -> Recognizer:
    """One head of MODEL.NUM_CLASSES."""
    layers = [f"head{cfg.TASK}.projection"]
    return build_recognizer(
        cfg, slowfast_backbone(cfg), [cfg.MODEL.NUM_CLASSES], layers, cfg.MODEL.HEAD_ACT
    )


@register_model(views=("ego",), heads=ego_heads)
def MultiTaskSlowFast(cfg: CfgNode) -> Recognizer:
    """The ego recogniser: one head per entry of MODEL.NUM_CLASSES_LIST."""
    counts = cfg.MODEL.NUM_CLASSES_LIST
    layers = head_layers(f"head{cfg.TASK}", len(counts))
    return build_recognizer(cfg, slowfast_backbone(cfg), counts, layers, cfg.MODEL.HEAD_ACT)


@register_model(views=("exo",), heads=exo_heads, losses=("bce_logit",))
def ExoSlowFast(cfg: CfgNode) -> Recognizer:
    """The exo recogniser alone: heads of EXO.NUM_CLASSES_LIST.

    A clip has several labels of a head at once, so its scores are sigmoids whatever
    MODEL.HEAD_ACT is.
    """
    counts = cfg.EXO.NUM_CLASSES_LIST
    layers = head_layers("readout", len(counts))
    return build_recognizer(cfg, slowfast_backbone(cfg), counts, layers, "sigmoid")


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


def head_layers(head: str, count: int) -> list[str]:
    """Names of the linear layers of `head` in published checkpoints."""
    return [f"{head}.projections.{task}" for task in range(count)]
