"""Rules on the values of a merged config.

What a run trains and tests is checked before it starts (engine/preflight/run_rules.py), as is what
depends on the machine (devices, paths, number of processes).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.utils.errors import UserError

_CHANNEL_ORDERS = ("bgr", "rgb")
_CHECKPOINT_TYPES = ("pytorch", "caffe2")
_VIEWS = ("fpv", "tpv")

_PRECISIONS = ("fp32", "tf32", "bf16", "fp16")

CHOICES: dict[str, tuple[Any, ...]] = {
    "TRAIN.PRECISION": _PRECISIONS,
    "TEST.PRECISION": _PRECISIONS,
    "TRAIN.BEST_METRIC": (
        *("", "action_top1", "verb_top1", "verb_top5", "noun_top1", "noun_top5"),
        *("top1", "top5", "mAP", "verb_mAP", "noun_mAP"),
    ),
    "TRAIN.CHECKPOINT_TYPE": _CHECKPOINT_TYPES,
    "TEST.CHECKPOINT_TYPE": _CHECKPOINT_TYPES,
    "TEST.TASK": ("recognition", "features", "retrieval", "cross_view", "zero_shot"),
    "TEST.EXO_SPLIT": ("train", "val", "test"),
    "TEST.NUM_SPATIAL_CROPS": (1, 3),
    "DATA.CHANNEL_ORDER": _CHANNEL_ORDERS,
    "DATA.DECODER": ("auto", "simplejpeg", "opencv"),
    "DATA.ENSEMBLE_METHOD": ("sum", "max"),
    "DATA.ON_BAD_FRAME": ("error", "nearest"),
    "DATA.RESIZE_ON": ("auto", "worker", "device"),
    "EXO.VIEW": _VIEWS,
    "EXO.SEGMENTS_VIEW": _VIEWS,
    "EXO.CLIP_POSITION": ("segment", "first_frame"),
    "EXO.CHANNEL_ORDER": _CHANNEL_ORDERS,
    "SUML.NEGATIVES": ("all", "drop_same_label", "drop_same_text", "multi_positive"),
    "SUML.TEXT_NEGATIVES": ("both", "video"),
    "SUML.ALIGN.KIND": ("dcl", "dcl_weighted", "triplet", "soft", "factorised", "none"),
    "SUML.ALIGN.RELEVANCE": ("text", "label"),
    "SUML.PAIRS.MINING": ("text", "tiers", "tiers_text", "factors"),
    "SUML.PAIRS.INDEX": ("exact", "ivf"),
    "MODEL.LOSS_FUNC": ("cross_entropy", "bce_logit"),
    "MODEL.HEAD_ACT": ("softmax", "sigmoid"),
    "MODEL.HEAD_POOL": ("global", "window"),
    "MODEL.FREEZE_STAGES": (0, 1, 2, 3, 4, 5),
    "RESNET.DEPTH": (50, 101),
    "BN.NORM_TYPE": ("batchnorm", "sync_batchnorm", "frozen"),
    "SOLVER.LR_POLICY": ("cosine", "steps_with_relative_lrs"),
    "SOLVER.OPTIMIZING_METHOD": ("sgd", "adam", "adamw"),
    "SOLVER.FUSED": ("auto", "always", "never"),
}

AT_LEAST: dict[str, int] = {
    "NUM_GPUS": 0,
    "NUM_SHARDS": 1,
    "SHARD_ID": 0,
    "RNG_SEED": 0,
    "LOG_PERIOD": 1,
    "TRAIN.BATCH_SIZE": 1,
    "TRAIN.EVAL_PERIOD": 1,
    "TRAIN.CHECKPOINT_PERIOD": 1,
    "TRAIN.CHECKPOINT_PERIOD_ITERS": 0,
    "TRAIN.CHECKPOINT_KEEP": 0,
    "TRAIN.CHECKPOINT_KEEP_EVERY": 0,
    "SOLVER.SKIP_NONFINITE": 0,
    "TEST.BATCH_SIZE": 1,
    "TEST.CHUNK_VIEWS": 1,
    "TEST.PARTIAL_SEC": 0,
    "TEST.NUM_ENSEMBLE_VIEWS": 1,
    "DATA.NUM_FRAMES": 1,
    "DATA.SAMPLING_RATE": 1,
    "DATA.RETRIES": 0,
    "DATA.TRAIN_CROP_SIZE": 1,
    "DATA.TEST_CROP_SIZE": 1,
    "DATA.CROP_SIZE": 32,
    "EXO.NUM_FRAMES": 1,
    "EXO.SAMPLING_RATE": 1,
    "EXO.LIGHTING_STD": 0,
    "SUML.EMBED_DIM": 1,
    "SUML.WEIGHTS.EXO_CLS": 0,
    "SUML.WEIGHTS.ALIGN": 0,
    "SUML.WEIGHTS.EGO_TEXT": 0,
    "SUML.WEIGHTS.EXO_TEXT": 0,
    "SUML.ALIGN.MARGIN": 0,
    "SUML.QUEUE.SIZE": 0,
    "SUML.PAIRS.TOP_K": 1,
    "SUML.PAIRS.IVF_LISTS": 0,
    "SUML.PAIRS.IVF_PROBES": 1,
    "MODEL.NUM_CLASSES": 1,
    "MODEL.FC_INIT_STD": 0,
    "RESNET.NUM_GROUPS": 1,
    "RESNET.WIDTH_PER_GROUP": 1,
    "SLOWFAST.ALPHA": 1,
    "SLOWFAST.BETA_INV": 1,
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": 1,
    "SLOWFAST.FUSION_KERNEL_SZ": 1,
    "BN.NUM_BATCHES_PRECISE": 1,
    "BN.WEIGHT_DECAY": 0,
    "SOLVER.BASE_LR": 0,
    "SOLVER.MAX_EPOCH": 1,
    "SOLVER.WARMUP_EPOCHS": 0,
    "SOLVER.WARMUP_START_LR": 0,
    "SOLVER.WEIGHT_DECAY": 0,
    "SOLVER.BASE_LR_BATCH_SIZE": 0,
    "SOLVER.CLIP_GRAD_VAL": 0,
    "SOLVER.CLIP_GRAD_L2NORM": 0,
    "SOLVER.ACCUMULATE": 1,
    "DATA_LOADER.NUM_WORKERS": 0,
    "DATA_LOADER.TIMEOUT": 0,
    "DISTRIBUTED.TIMEOUT": 1,
}
ABOVE_ZERO = ("SUML.TEMPERATURE", "SUML.ALIGN.SIGMA")
FROM_ZERO_BELOW_ONE = (
    *("MODEL.DROPOUT_RATE", "SOLVER.MOMENTUM", "SOLVER.DAMPENING", "SOLVER.EMA_DECAY"),
    "SUML.QUEUE.MOMENTUM",
)

# Per stage s2..s5, (slow, fast): the smallest value.
_PER_STAGE = {
    "RESNET.NUM_BLOCK_TEMP_KERNEL": 0,
    "RESNET.SPATIAL_STRIDES": 1,
    "RESNET.SPATIAL_DILATIONS": 1,
}
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

Rule = Callable[[CfgNode], str | None]


def validate(cfg: CfgNode) -> None:
    """Check values and how they fit together. Raises: UserError with keys, values and the mend."""
    _raise_first(cfg, (_choices, _bounds, *_RULES))


def _raise_first(cfg: CfgNode, rules: tuple[Rule, ...]) -> None:
    for rule in rules:
        if message := rule(cfg):
            raise UserError(message)


def _value(cfg: CfgNode, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def _choices(cfg: CfgNode) -> str | None:
    for key, choices in CHOICES.items():
        if (value := _value(cfg, key)) not in choices:
            named = ", ".join(str(choice) if choice != "" else "'' (none)" for choice in choices)
            return f"{key} is {value!r}; choose one of {named}"
    return None


def _bounds(cfg: CfgNode) -> str | None:
    for key, least in AT_LEAST.items():
        if (value := _value(cfg, key)) < least:
            return f"{key} is {value}; set it to {least} or more"
    for key in ABOVE_ZERO:
        if (value := _value(cfg, key)) <= 0:
            return f"{key} is {value}; set it above 0"
    for key in FROM_ZERO_BELOW_ONE:
        if not 0 <= (value := _value(cfg, key)) < 1:
            return f"{key} is {value}; set it from 0 to below 1"
    return None


def _threshold(cfg: CfgNode) -> str | None:
    if -1 <= cfg.SUML.ALIGN.THRESHOLD <= 1:
        return None
    return f"SUML.ALIGN.THRESHOLD is {cfg.SUML.ALIGN.THRESHOLD}; set a cosine, from -1 to 1"


def _shard(cfg: CfgNode) -> str | None:
    if cfg.SHARD_ID >= cfg.NUM_SHARDS:
        return (
            f"SHARD_ID is {cfg.SHARD_ID} of NUM_SHARDS {cfg.NUM_SHARDS}; "
            f"machines are numbered from 0 to {cfg.NUM_SHARDS - 1}"
        )
    return None


def _output_dir(cfg: CfgNode) -> str | None:
    return None if cfg.OUTPUT_DIR else "OUTPUT_DIR is empty; name a folder ('.' for this one)"


def _slow_frames(cfg: CfgNode) -> str | None:
    frames, alpha = cfg.DATA.NUM_FRAMES, cfg.SLOWFAST.ALPHA
    if frames % alpha == 0:
        return None
    return (
        f"DATA.NUM_FRAMES {frames} is not a multiple of SLOWFAST.ALPHA {alpha}; set it to"
        f" {-(-frames // alpha) * alpha}"
    )


def _jitter(cfg: CfgNode) -> str | None:
    scales, crop = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
    if len(scales) != 2 or scales[0] > scales[1]:
        return f"DATA.TRAIN_JITTER_SCALES is {scales}; give [smallest, largest]"
    if scales[0] < crop:
        return (
            f"DATA.TRAIN_JITTER_SCALES {scales} begins below DATA.TRAIN_CROP_SIZE {crop}, which"
            f" cannot be cut from it; raise the one to {crop} or lower the other to {scales[0]}"
        )
    return None


def _pixel_statistics(cfg: CfgNode) -> str | None:
    for key in ("DATA.MEAN", "DATA.STD"):
        if len(value := _value(cfg, key)) != 3:
            return f"{key} is {value}; give one number per colour channel, 3 in all"
    if min(cfg.DATA.STD) <= 0:
        return f"DATA.STD is {cfg.DATA.STD}; set all three above 0"
    return None


def _class_counts(cfg: CfgNode) -> str | None:
    for section in ("MODEL", "EXO"):
        counts = cfg[section].NUM_CLASSES_LIST
        if any(count < 1 for count in counts):
            return (
                f"{section}.NUM_CLASSES_LIST is {counts}; give the number of classes of each head,"
                " all 1 or more"
            )
    return None


def _width(cfg: CfgNode) -> str | None:
    width, ratio = cfg.RESNET.WIDTH_PER_GROUP, cfg.SLOWFAST.BETA_INV
    if width % ratio:
        return (
            f"RESNET.WIDTH_PER_GROUP {width} is not a multiple of SLOWFAST.BETA_INV {ratio}, so"
            f" the fast pathway has no whole width; set the width to {-(-width // ratio) * ratio}"
        )
    return None


def _fusion_kernel(cfg: CfgNode) -> str | None:
    kernel = cfg.SLOWFAST.FUSION_KERNEL_SZ
    if kernel % 2 == 0:
        return f"SLOWFAST.FUSION_KERNEL_SZ is {kernel}; set an odd size, e.g. {kernel + 1}"
    return None


def _stage_lists(cfg: CfgNode) -> str | None:
    for key, least in _PER_STAGE.items():
        value = _value(cfg, key)
        shaped = len(value) == 4 and all(len(stage) == 2 for stage in value)
        if not shaped or any(number < least for stage in value for number in stage):
            return (
                f"{key} is {value}; give [slow, fast] for each of the stages s2 to s5, all numbers"
                f" {least} or more"
            )
    return None


def _temporal_blocks(cfg: CfgNode) -> str | None:
    counts, blocks = cfg.RESNET.NUM_BLOCK_TEMP_KERNEL, _BLOCKS[cfg.RESNET.DEPTH]
    if any(max(stage) > most for stage, most in zip(counts, blocks, strict=True)):
        return (
            f"RESNET.NUM_BLOCK_TEMP_KERNEL is {counts}, but RESNET.DEPTH {cfg.RESNET.DEPTH} has"
            f" only {list(blocks)} blocks per stage; set it to {[[n, n] for n in blocks]}"
        )
    return None


def _steps(cfg: CfgNode) -> str | None:
    if cfg.SOLVER.LR_POLICY != "steps_with_relative_lrs":
        return None
    steps, factors = cfg.SOLVER.STEPS, cfg.SOLVER.LRS
    if not all(_is_number(number) for number in (*steps, *factors)):
        return f"SOLVER.STEPS is {steps} and SOLVER.LRS is {factors}; both hold numbers only"
    if len(steps) != len(factors):
        return (
            f"SOLVER.STEPS {steps} has {len(steps)} entries and SOLVER.LRS {factors} has"
            f" {len(factors)}; give one factor per step"
        )
    if not steps or steps[0] != 0 or any(a >= b for a, b in pairwise(steps)):
        return f"SOLVER.STEPS is {steps}; give epochs that begin with 0 and increase"
    if min(factors) < 0:
        return f"SOLVER.LRS is {factors}; give factors of SOLVER.BASE_LR, 0 or more"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _nesterov(cfg: CfgNode) -> str | None:
    solver = cfg.SOLVER
    if solver.OPTIMIZING_METHOD != "sgd" or not solver.NESTEROV:
        return None
    if solver.MOMENTUM == 0 or solver.DAMPENING != 0:
        return (
            f"SOLVER.NESTEROV True needs a SOLVER.MOMENTUM above 0 (it is {solver.MOMENTUM}) and"
            f" SOLVER.DAMPENING 0 (it is {solver.DAMPENING}); or set SOLVER.NESTEROV False"
        )
    return None


def _recomputed_stages(cfg: CfgNode) -> str | None:
    stages = [f"s{n}{part}" for n in range(1, 6) for part in ("", "_fuse")][:-1]
    if unknown := [name for name in cfg.MODEL.RECOMPUTE_STAGES if name not in stages]:
        return f"MODEL.RECOMPUTE_STAGES has {unknown}; choose of {', '.join(stages)}"
    if cfg.MODEL.RECOMPUTE_STAGES and cfg.MODEL.COMPILE:
        return (
            f"MODEL.COMPILE True does not go with MODEL.RECOMPUTE_STAGES"
            f" {cfg.MODEL.RECOMPUTE_STAGES}; set the one False or the other []"
        )
    return None


def _clipping(cfg: CfgNode) -> str | None:
    value, norm = cfg.SOLVER.CLIP_GRAD_VAL, cfg.SOLVER.CLIP_GRAD_L2NORM
    if value and norm:
        return (
            f"SOLVER.CLIP_GRAD_VAL is {value} and SOLVER.CLIP_GRAD_L2NORM is {norm}; set one of"
            " them 0"
        )
    return None


def _grad_cache(cfg: CfgNode) -> str | None:
    if cfg.SUML.GRAD_CACHE and cfg.SOLVER.ACCUMULATE == 1:
        return (
            "SUML.GRAD_CACHE is True, but SOLVER.ACCUMULATE 1 leaves the batch whole; set the"
            " number of parts, or SUML.GRAD_CACHE False"
        )
    return None


def _queue(cfg: CfgNode) -> str | None:
    size, kind, weight = cfg.SUML.QUEUE.SIZE, cfg.SUML.ALIGN.KIND, cfg.SUML.WEIGHTS.ALIGN
    if not size or (kind in ("dcl", "dcl_weighted") and weight):
        return None
    return (
        f"SUML.QUEUE.SIZE {size} holds negatives of SUML.ALIGN.KIND dcl and dcl_weighted; it is"
        f" {kind}, of SUML.WEIGHTS.ALIGN {weight}: set the size 0, or one of these kinds and a"
        " weight above 0"
    )


def _exo_stream(cfg: CfgNode) -> str | None:
    suml = cfg.SUML
    if not suml.EXO_STREAM:
        return None
    if suml.ALIGN.KIND == "factorised":
        return (
            "SUML.EXO_STREAM True and SUML.ALIGN.KIND factorised both ask for a second exo clip;"
            " set the one False or the other dcl"
        )
    if (
        suml.WEIGHTS.EXO_CLS
        or suml.WEIGHTS.EXO_TEXT
        or (suml.WEIGHTS.ALIGN and suml.ALIGN.KIND in ("dcl", "dcl_weighted"))
    ):
        return None
    return (
        "SUML.EXO_STREAM True, but no term of this config uses its clips; set SUML.WEIGHTS.EXO_CLS"
        " or EXO_TEXT above 0, or SUML.EXO_STREAM False"
    )


def _factors(cfg: CfgNode) -> str | None:
    mining = cfg.SUML.PAIRS.MINING
    if cfg.SUML.ALIGN.KIND != "factorised" or mining == "factors":
        return None
    return (
        f"SUML.ALIGN.KIND factorised needs partners by verb and by noun, SUML.PAIRS.MINING is"
        f" {mining}; set it to factors, and SUML.PAIRS.FILE to a table of its own"
    )


def _average(cfg: CfgNode) -> str | None:
    if cfg.SOLVER.EMA_DECAY and cfg.BN.USE_PRECISE_STATS:
        return (
            f"SOLVER.EMA_DECAY {cfg.SOLVER.EMA_DECAY} averages batch-norm statistics, which"
            " BN.USE_PRECISE_STATS True would measure for other weights; set one of them off"
        )
    return None


_RULES: tuple[Rule, ...] = (
    _shard,
    _output_dir,
    _slow_frames,
    _jitter,
    _pixel_statistics,
    _class_counts,
    _width,
    _fusion_kernel,
    _stage_lists,
    _temporal_blocks,
    _recomputed_stages,
    _clipping,
    _grad_cache,
    _queue,
    _exo_stream,
    _factors,
    _average,
    _steps,
    _nesterov,
    _threshold,
)
