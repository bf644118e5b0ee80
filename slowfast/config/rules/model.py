"""Rules on the backbone and the options of a model."""

from __future__ import annotations

from fvcore.common.config import CfgNode

from slowfast.config.clip_geometry import FEATURES, OWN, split_name

_BLOCKS_PER_STAGE = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def fast_width(cfg: CfgNode) -> str | None:
    """The fast pathway has a whole number of channels."""
    width, ratio = cfg.RESNET.WIDTH_PER_GROUP, cfg.SLOWFAST.BETA_INV
    if width % ratio:
        return (
            f"RESNET.WIDTH_PER_GROUP {width} is not a multiple of SLOWFAST.BETA_INV {ratio}, so"
            f" the fast pathway has a fractional width; set it to {-(-width // ratio) * ratio}"
        )
    return None


def temporal_blocks(cfg: CfgNode) -> str | None:
    """No stage has more temporal kernels than blocks."""
    counts, blocks = cfg.RESNET.NUM_BLOCK_TEMP_KERNEL, _BLOCKS_PER_STAGE[cfg.RESNET.DEPTH]
    if any(max(stage) > most for stage, most in zip(counts, blocks, strict=True)):
        return (
            f"RESNET.NUM_BLOCK_TEMP_KERNEL is {counts}, but RESNET.DEPTH {cfg.RESNET.DEPTH} has"
            f" only {list(blocks)} blocks per stage; set it to {[[n, n] for n in blocks]}"
        )
    return None


def stored_features(cfg: CfgNode) -> str | None:
    """TRAIN.ON_FEATURES needs backbones that forward stored features, and they need it."""
    names = {"MODEL.BACKBONE": cfg.MODEL.BACKBONE, "EXO.BACKBONE": cfg.EXO.BACKBONE}
    for key, name in names.items():
        stored = split_name(name)[0] == FEATURES
        if cfg.TRAIN.ON_FEATURES and name and not stored:
            return (
                f"TRAIN.ON_FEATURES True, but {key} is {name}; set it to features:WIDTH, the"
                " channels of the features"
            )
        if stored and not cfg.TRAIN.ON_FEATURES:
            return f"{key} is {name}, which needs TRAIN.ON_FEATURES True; set it"
    if cfg.TRAIN.ON_FEATURES and cfg.TENSORBOARD.PAIRS:
        return (
            f"TENSORBOARD.PAIRS is {cfg.TENSORBOARD.PAIRS}, but TRAIN.ON_FEATURES True reads no"
            " frames to draw; set TENSORBOARD.PAIRS to 0"
        )
    return None


def shared_backbone(cfg: CfgNode) -> str | None:
    """A shared backbone has no separate exo settings."""
    ego, exo = cfg.MODEL.BACKBONE, cfg.EXO.BACKBONE
    if cfg.MODEL.SHARE_BACKBONE and exo not in ("", ego):
        return (
            f"MODEL.SHARE_BACKBONE True, but EXO.BACKBONE {exo} is not MODEL.BACKBONE {ego}; set"
            " EXO.BACKBONE to it, or MODEL.SHARE_BACKBONE False"
        )
    if cfg.MODEL.SHARE_BACKBONE and cfg.EXO.CHECKPOINT_FILE_PATH:
        return (
            f"EXO.CHECKPOINT_FILE_PATH is {cfg.EXO.CHECKPOINT_FILE_PATH}, but with"
            " MODEL.SHARE_BACKBONE True both halves start from TRAIN.CHECKPOINT_FILE_PATH; set it"
            " to ''"
        )
    if cfg.MODEL.SHARE_BACKBONE and cfg.EXO.FREEZE_STAGES:
        return (
            f"EXO.FREEZE_STAGES is {cfg.EXO.FREEZE_STAGES}, but with MODEL.SHARE_BACKBONE True"
            " MODEL.FREEZE_STAGES freezes the backbone of both halves; set EXO.FREEZE_STAGES to 0"
        )
    return None


def own_backbone_keys(cfg: CfgNode) -> str | None:
    """Options of SlowFast are not set for another backbone."""
    if OWN in (cfg.MODEL.BACKBONE, cfg.EXO.BACKBONE):
        return None
    if cfg.MODEL.HEAD_POOL == "window":
        return (
            f"MODEL.HEAD_POOL window is for SlowFast, but MODEL.BACKBONE is {cfg.MODEL.BACKBONE};"
            " set MODEL.HEAD_POOL global"
        )
    return None


def probe(cfg: CfgNode) -> str | None:
    """The attentive probe pools all positions."""
    if cfg.MODEL.PROBE == "attentive" and cfg.MODEL.HEAD_POOL == "window":
        return (
            "MODEL.PROBE attentive pools all positions, but MODEL.HEAD_POOL is window; set"
            " MODEL.HEAD_POOL global or MODEL.PROBE linear"
        )
    return None


def recomputed_stages(cfg: CfgNode) -> str | None:
    """A compiled model recomputes no stages."""
    if cfg.MODEL.RECOMPUTE_STAGES and cfg.MODEL.COMPILE:
        return (
            f"MODEL.COMPILE True does not support MODEL.RECOMPUTE_STAGES"
            f" {cfg.MODEL.RECOMPUTE_STAGES}; set MODEL.COMPILE False or MODEL.RECOMPUTE_STAGES []"
        )
    return None


def cuda_graphs(cfg: CfgNode) -> str | None:
    """CUDA graphs take a batch in one part."""
    mode, parts = cfg.MODEL.COMPILE_MODE, cfg.SOLVER.ACCUMULATE
    if cfg.MODEL.COMPILE and mode != "default" and parts > 1:
        # The gradients of a part are in memory that the graphs of the next part use again.
        return (
            f"MODEL.COMPILE_MODE {mode} does not support SOLVER.ACCUMULATE {parts}; set"
            " SOLVER.ACCUMULATE 1 or MODEL.COMPILE_MODE default"
        )
    return None
