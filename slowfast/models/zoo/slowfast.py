"""Recognisers of one view: SlowFast backbones with one or more heads."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.clip_geometry import OWN, ClipGeometry, split_name
from slowfast.config.derived import backbone_of
from slowfast.config.heads import ego_activation, ego_heads, exo_heads, single_head
from slowfast.models.backbone import Backbone
from slowfast.models.backbones.registry import BACKBONE_REGISTRY
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
        cfg, build_backbone(cfg, "ego"), [cfg.MODEL.NUM_CLASSES], layers, ego_activation(cfg)
    )


@register_model(views=("ego",), heads=ego_heads)
def MultiTaskSlowFast(cfg: CfgNode) -> Recognizer:
    """The ego recogniser: one head per entry of MODEL.NUM_CLASSES_LIST."""
    counts = cfg.MODEL.NUM_CLASSES_LIST
    layers = head_layers(f"head{cfg.TASK}", len(counts))
    return build_recognizer(cfg, build_backbone(cfg, "ego"), counts, layers, ego_activation(cfg))


@register_model(views=("exo",), heads=exo_heads, losses=("bce_logit",))
def ExoSlowFast(cfg: CfgNode) -> Recognizer:
    """The exo recogniser alone: heads of EXO.NUM_CLASSES_LIST.

    A clip has several labels of a head at once, so its scores are sigmoids whatever
    MODEL.HEAD_ACT is.
    """
    counts = cfg.EXO.NUM_CLASSES_LIST
    layers = head_layers(EXO_ONLY_HEAD, len(counts))
    return build_recognizer(cfg, build_backbone(cfg, "exo"), counts, layers, "sigmoid")


def build_backbone(cfg: CfgNode, view: str, *, second: bool = False) -> Backbone:
    """The backbone of a view, with its first stages frozen as the config says.

    second: it is the exo half of a dual model, whose stages EXO.FREEZE_STAGES freezes.

    Raises: UserError for an unknown name, a library that is not installed, clips that do not fit
        it, and for more frozen stages than it has.
    """
    name, section = backbone_of(cfg, view), cfg.EXO if view == "exo" else cfg.DATA
    if name == OWN:
        backbone: Backbone = slowfast_backbone(cfg)
    else:
        family, model = split_name(name)
        clips = ClipGeometry(section.NUM_FRAMES, section.SAMPLING_RATE, cfg.DATA.TRAIN_CROP_SIZE)
        backbone = BACKBONE_REGISTRY.get(family)(model, clips)
    if second:
        backbone.freeze_stages(cfg.EXO.FREEZE_STAGES, "EXO.FREEZE_STAGES")
    else:
        backbone.freeze_stages(cfg.MODEL.FREEZE_STAGES, "MODEL.FREEZE_STAGES")
    return backbone


def slowfast_backbone(cfg: CfgNode) -> SlowFastBackbone:
    """The backbone of RESNET and SLOWFAST."""
    resnet, slowfast = cfg.RESNET, cfg.SLOWFAST
    return SlowFastBackbone(
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


def head_layers(head: str, count: int) -> list[str]:
    """Names of the linear layers of `head` in published checkpoints."""
    return [f"{head}.projections.{task}" for task in range(count)]
