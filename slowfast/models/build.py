"""Models from a config, by MODEL.MODEL_NAME."""

from __future__ import annotations

from collections.abc import Sequence

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry
from torch import nn

from slowfast.models.ego_exo import EgoExoSlowFast
from slowfast.models.freeze import freeze_stages
from slowfast.models.heads import Head, SingleHead
from slowfast.models.init import init_weights
from slowfast.models.recognizer import Recognizer
from slowfast.models.slowfast import SlowFastBackbone
from slowfast.utils.errors import UserError

MODEL_REGISTRY: Registry = Registry("MODEL")
# Pixels of the input that one position of s5 stands for.
_TOTAL_STRIDE = 32


def build_model(cfg: CfgNode) -> nn.Module:
    """The model on the CPU, with initial weights drawn from torch's generator."""
    name = cfg.MODEL.MODEL_NAME
    if name not in MODEL_REGISTRY:
        known = ", ".join(sorted(known for known, _ in MODEL_REGISTRY))
        raise UserError(f"MODEL.MODEL_NAME {name} is unknown; use one of {known}")
    model: nn.Module = MODEL_REGISTRY.get(name)(cfg)
    init_weights(model, cfg.MODEL.FC_INIT_STD, cfg.RESNET.ZERO_INIT_FINAL_BN)
    recognizer = model.ego if isinstance(model, EgoExoSlowFast) else model
    freeze_stages(recognizer.get_submodule("backbone"), cfg.MODEL.FREEZE_STAGES)
    return model


def build_test_model(cfg: CfgNode) -> nn.Module:
    """The part of the model that a test runs: of a dual model, the ego half."""
    if cfg.MODEL.MODEL_NAME != "EgoExoSlowFast":
        return build_model(cfg)
    ego_only = cfg.clone()
    ego_only.defrost()
    ego_only.MODEL.MODEL_NAME = "MultiTaskSlowFast"
    return build_model(ego_only)


@MODEL_REGISTRY.register()
def SlowFast(cfg: CfgNode) -> Recognizer:
    """One head of MODEL.NUM_CLASSES."""
    return _recognizer(cfg, SingleHead, [cfg.MODEL.NUM_CLASSES], "head" + cfg.TASK)


@MODEL_REGISTRY.register()
def MultiTaskSlowFast(cfg: CfgNode) -> Recognizer:
    """One head per entry of MODEL.NUM_CLASSES_LIST: the ego recogniser."""
    return _recognizer(cfg, Head, cfg.MODEL.NUM_CLASSES_LIST, "head" + cfg.TASK)


@MODEL_REGISTRY.register()
def ExoSlowFast(cfg: CfgNode) -> Recognizer:
    """The exo recogniser alone, multi-label; heads of EXO.NUM_CLASSES_LIST."""
    return _recognizer(cfg, Head, cfg.EXO.NUM_CLASSES_LIST, "readout", "sigmoid")


def _ego_exo(cfg: CfgNode) -> EgoExoSlowFast:
    weights, aligned = cfg.SUML.WEIGHTS, cfg.SUML.ALIGN.KIND != "none" and cfg.SUML.WEIGHTS.ALIGN
    ego = MultiTaskSlowFast(cfg)
    return EgoExoSlowFast(
        ego,
        ExoSlowFast(cfg),
        pooled_channels=sum(ego.backbone.out_channels),
        embed_dim=cfg.SUML.EMBED_DIM,
        use_exo_head=bool(weights.EXO_CLS),
        use_ego_projection=bool(weights.EGO_TEXT or aligned),
        use_exo_projection=bool(weights.EXO_TEXT or aligned),
    )


def _recognizer(
    cfg: CfgNode,
    head: type[Head],
    num_classes: Sequence[int],
    published_head: str,
    activation: str | None = None,
) -> Recognizer:
    backbone = _backbone(cfg)
    window = cfg.DATA.CROP_SIZE // _TOTAL_STRIDE if cfg.MODEL.HEAD_POOL == "window" else None
    return Recognizer(
        backbone,
        head(
            sum(backbone.out_channels),
            num_classes,
            dropout_rate=cfg.MODEL.DROPOUT_RATE,
            activation=activation or cfg.MODEL.HEAD_ACT,
            no_act=cfg.TEST.NO_ACT,
            window=window,
        ),
        published_head,
    )


def _backbone(cfg: CfgNode) -> SlowFastBackbone:
    return SlowFastBackbone(
        depth=cfg.RESNET.DEPTH,
        width=cfg.RESNET.WIDTH_PER_GROUP,
        alpha=cfg.SLOWFAST.ALPHA,
        beta_inv=cfg.SLOWFAST.BETA_INV,
        fusion_ratio=cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO,
        fusion_kernel=cfg.SLOWFAST.FUSION_KERNEL_SZ,
        temporal_blocks=cfg.RESNET.NUM_BLOCK_TEMP_KERNEL,
        strides=cfg.RESNET.SPATIAL_STRIDES,
        dilations=cfg.RESNET.SPATIAL_DILATIONS,
        groups=cfg.RESNET.NUM_GROUPS,
    )


MODEL_REGISTRY._do_register("EgoExoSlowFast", _ego_exo)
