"""Recognisers of one view: SlowFast backbones with one or more heads."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.heads import ego_heads, exo_heads, single_head
from slowfast.models.build import build_recognizer
from slowfast.models.published_names import EXO_ONLY_HEAD
from slowfast.models.recognizer import Recognizer
from slowfast.models.registry import register_model
from slowfast.models.slowfast import NUM_BLOCKS, FusionShape, SlowFastBackbone, StageShapes


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
    layers = head_layers(EXO_ONLY_HEAD, len(counts))
    return build_recognizer(cfg, slowfast_backbone(cfg), counts, layers, "sigmoid")


def slowfast_backbone(cfg: CfgNode, frozen_stages: int | None = None) -> SlowFastBackbone:
    """The backbone of RESNET and SLOWFAST; frozen_stages None: MODEL.FREEZE_STAGES."""
    resnet, slowfast = cfg.RESNET, cfg.SLOWFAST
    backbone = SlowFastBackbone(
        StageShapes(
            num_blocks=NUM_BLOCKS[resnet.DEPTH],
            temporal_blocks=resnet.NUM_BLOCK_TEMP_KERNEL,
            strides=resnet.SPATIAL_STRIDES,
            dilations=resnet.SPATIAL_DILATIONS,
        ),
        FusionShape(slowfast.FUSION_CONV_CHANNEL_RATIO, slowfast.FUSION_KERNEL_SZ),
        width=resnet.WIDTH_PER_GROUP,
        alpha=slowfast.ALPHA,
        beta_inv=slowfast.BETA_INV,
        groups=resnet.NUM_GROUPS,
        inplace_relu=resnet.INPLACE_RELU,
    )
    backbone.freeze_stages(cfg.MODEL.FREEZE_STAGES if frozen_stages is None else frozen_stages)
    return backbone


def head_layers(head: str, count: int) -> list[str]:
    """Names of the linear layers of `head` in published checkpoints."""
    return [f"{head}.projections.{task}" for task in range(count)]
