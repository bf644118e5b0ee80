"""Rules on combinations of keys in a merged config.

Bounds of single keys are declared with the key, in `defaults`. Rules on the data and tasks of a
run, and on the machine (devices, paths, number of processes), are checked before it starts
(engine/preflight).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.config.bounds import check_bounds
from slowfast.config.clip_geometry import FEATURES, OWN, split_name
from slowfast.config.defaults import BOUNDS
from slowfast.config.derived import alpha_of
from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import exo_heads, joint_name
from slowfast.utils.errors import UserError
from slowfast.utils.paths import is_remote

_HEAD_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Paths that are searched or written, so they must be local. Other path keys name input files,
# which may be URLs.
_LOCAL_KEYS = (
    *("OUTPUT_DIR", "SUML.CACHE_DIR", "TEST.FEATURES.DIR", "TEST.SAVE_PREDICT_PATH"),
    *("DATA.PATH_PREFIX", "DATA.FALLBACK_PATH_PREFIXES", "EXO.PATH_PREFIX"),
    *("FEATURES.EGO", "FEATURES.EXO"),
)
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

Rule = Callable[[CfgNode], str | None]


def validate(cfg: CfgNode) -> None:
    """Check the value of every key, then the combinations of keys.

    Raises: UserError with keys, values and the fix.
    """
    check_bounds(cfg, BOUNDS)
    for rule in _RULES:
        if message := rule(cfg):
            raise UserError(message)


def _shard(cfg: CfgNode) -> str | None:
    if cfg.SHARD_ID >= cfg.NUM_SHARDS:
        return (
            f"SHARD_ID is {cfg.SHARD_ID} of NUM_SHARDS {cfg.NUM_SHARDS}; "
            f"machines are numbered from 0 to {cfg.NUM_SHARDS - 1}"
        )
    return None


def _slow_frames(cfg: CfgNode) -> str | None:
    frames, alpha = cfg.DATA.NUM_FRAMES, alpha_of(cfg, "ego")
    if frames % alpha == 0:
        return None
    return (
        f"DATA.NUM_FRAMES {frames} is not a multiple of SLOWFAST.ALPHA {alpha}; set it to"
        f" {-(-frames // alpha) * alpha}"
    )


def _jitter(cfg: CfgNode) -> str | None:
    scales, crop = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
    if scales[0] < crop:
        return (
            f"DATA.TRAIN_JITTER_SCALES {scales} begins below DATA.TRAIN_CROP_SIZE {crop}, which"
            f" cannot be cut from it; raise the scale to {crop} or lower the crop to {scales[0]}"
        )
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


def _head_names(cfg: CfgNode) -> str | None:
    for section in ("MODEL", "EXO"):
        names, counts = cfg[section].HEAD_NAMES, cfg[section].NUM_CLASSES_LIST
        # A model with a single head of MODEL.NUM_CLASSES has no list and does not use the names.
        if section == "MODEL" and not counts:
            continue
        if fix := _head_names_fix(names, counts):
            return (
                f"{section}.HEAD_NAMES is {names}, of the heads of {section}.NUM_CLASSES_LIST"
                f" {counts}; {fix}"
            )
    return None


def _exo_sets(cfg: CfgNode) -> str | None:
    """EXO.MORE and EXO.WEIGHTS, which are checked where they are read."""
    names = [head.name for head in exo_heads(cfg)]
    for source in exo_sources(cfg)[1:]:
        if fix := _head_names_fix(source.cfg.EXO.HEAD_NAMES, source.cfg.EXO.NUM_CLASSES_LIST):
            return f"EXO.MORE: HEAD_NAMES of {source.name} is {source.cfg.EXO.HEAD_NAMES}; {fix}"
    twice = [name for name in names if names.count(name) > 1]
    return f"two exo heads are called {twice[0]}; change the NAME in EXO.MORE" if twice else None


def _head_names_fix(names: list[str], counts: list[int]) -> str | None:
    if len(names) != len(counts):
        return f"give as many names as sizes ({len(names)} and {len(counts)} now)"
    for name in names:
        if not _HEAD_NAME.fullmatch(name):
            return (
                f"rename {name!r}: a name starts with a lower-case letter, followed by lower-case"
                " letters, digits and underscores"
            )
        if names.count(name) > 1:
            return f"give each head a different name, instead of {name!r} twice"
    if (joint := joint_name(names)) in names:
        return f"rename {joint!r}: that is the name of the answer of all heads together"
    return None


def _width(cfg: CfgNode) -> str | None:
    width, ratio = cfg.RESNET.WIDTH_PER_GROUP, cfg.SLOWFAST.BETA_INV
    if width % ratio:
        return (
            f"RESNET.WIDTH_PER_GROUP {width} is not a multiple of SLOWFAST.BETA_INV {ratio}, so"
            f" the fast pathway has a fractional width; set it to {-(-width // ratio) * ratio}"
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


def schedule_warning(cfg: CfgNode) -> str | None:
    """A schedule that is possible, but hardly meant."""
    solver = cfg.SOLVER
    if solver.WARMUP_EPOCHS >= solver.MAX_EPOCH and solver.WARMUP_EPOCHS:
        return (
            f"SOLVER.WARMUP_EPOCHS {solver.WARMUP_EPOCHS} is not shorter than SOLVER.MAX_EPOCH"
            f" {solver.MAX_EPOCH}, so the learning rate never reaches SOLVER.BASE_LR"
        )
    if solver.LR_POLICY == "steps_with_relative_lrs" and cfg.TRAIN.ENABLE:
        # A last step at the end is a custom of the field.
        late = [step for step in solver.STEPS if step > solver.MAX_EPOCH]
        if not late:
            return None
        return (
            f"SOLVER.STEPS {solver.STEPS} names {late}, but the run ends at SOLVER.MAX_EPOCH"
            f" {solver.MAX_EPOCH}, so their SOLVER.LRS are never used"
        )
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


def _shared_backbone(cfg: CfgNode) -> str | None:
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


def _features(cfg: CfgNode) -> str | None:
    """TRAIN.ON_FEATURES and the backbones that pass features on go together."""
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
    return None


def _own_backbone_keys(cfg: CfgNode) -> str | None:
    """Options that only SlowFast has."""
    if OWN in (cfg.MODEL.BACKBONE, cfg.EXO.BACKBONE):
        return None
    if cfg.MODEL.HEAD_POOL == "window":
        return (
            f"MODEL.HEAD_POOL window is for SlowFast, but MODEL.BACKBONE is {cfg.MODEL.BACKBONE};"
            " set MODEL.HEAD_POOL global"
        )
    return None


def _probe(cfg: CfgNode) -> str | None:
    if cfg.MODEL.PROBE == "attentive" and cfg.MODEL.HEAD_POOL == "window":
        return (
            "MODEL.PROBE attentive pools all positions, but MODEL.HEAD_POOL is window; set"
            " MODEL.HEAD_POOL global or MODEL.PROBE linear"
        )
    return None


def _recomputed_stages(cfg: CfgNode) -> str | None:
    if cfg.MODEL.RECOMPUTE_STAGES and cfg.MODEL.COMPILE:
        return (
            f"MODEL.COMPILE True does not support MODEL.RECOMPUTE_STAGES"
            f" {cfg.MODEL.RECOMPUTE_STAGES}; set MODEL.COMPILE False or MODEL.RECOMPUTE_STAGES []"
        )
    return None


def _cuda_graphs(cfg: CfgNode) -> str | None:
    mode, parts = cfg.MODEL.COMPILE_MODE, cfg.SOLVER.ACCUMULATE
    if cfg.MODEL.COMPILE and mode != "default" and parts > 1:
        # The gradients of a part are in memory that the graphs of the next part use again.
        return (
            f"MODEL.COMPILE_MODE {mode} does not support SOLVER.ACCUMULATE {parts}; set"
            " SOLVER.ACCUMULATE 1 or MODEL.COMPILE_MODE default"
        )
    return None


def _clipping(cfg: CfgNode) -> str | None:
    value, norm = cfg.SOLVER.CLIP_GRAD_VAL, cfg.SOLVER.CLIP_GRAD_L2NORM
    if value and norm:
        return (
            f"SOLVER.CLIP_GRAD_VAL is {value} and SOLVER.CLIP_GRAD_L2NORM is {norm}; set one of"
            " them to 0"
        )
    return None


def _grad_cache(cfg: CfgNode) -> str | None:
    if cfg.SUML.GRAD_CACHE and cfg.SOLVER.ACCUMULATE == 1:
        return (
            "SUML.GRAD_CACHE is True, but SOLVER.ACCUMULATE 1 does not split the batch; set"
            " SOLVER.ACCUMULATE to 2 or more, or SUML.GRAD_CACHE False"
        )
    return None


def _queue(cfg: CfgNode) -> str | None:
    size, kind, weight = cfg.SUML.QUEUE.SIZE, cfg.SUML.ALIGN.KIND, cfg.SUML.WEIGHTS.ALIGN
    if not size or (kind in ("dcl", "dcl_weighted") and weight):
        return None
    return (
        f"SUML.QUEUE.SIZE is {size}, but SUML.ALIGN.KIND {kind} with SUML.WEIGHTS.ALIGN {weight}"
        " does not use the queue; set SUML.QUEUE.SIZE 0, or set SUML.ALIGN.KIND to dcl or"
        " dcl_weighted and SUML.WEIGHTS.ALIGN above 0"
    )


def _exo_stream(cfg: CfgNode) -> str | None:
    suml = cfg.SUML
    if not suml.EXO_STREAM:
        return None
    if suml.ALIGN.KIND == "factorised":
        return (
            "SUML.EXO_STREAM True and SUML.ALIGN.KIND factorised both need the second exo clip;"
            " set SUML.EXO_STREAM False or SUML.ALIGN.KIND dcl"
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


def _paired(cfg: CfgNode) -> str | None:
    pairs = cfg.SUML.PAIRS
    if pairs.MODE != "paired":
        return None
    if not pairs.PAIRED_FILE:
        return (
            "SUML.PAIRS.MODE is paired, but SUML.PAIRS.PAIRED_FILE is empty; set it to a CSV with"
            f" the columns {pairs.PAIRED_COLUMNS}, or SUML.PAIRS.MODE mined"
        )
    if len(set(pairs.PAIRED_COLUMNS)) != 2 or len(pairs.PAIRED_COLUMNS) != 2:
        return (
            f"SUML.PAIRS.PAIRED_COLUMNS is {pairs.PAIRED_COLUMNS}; give two columns, of the ego id"
            " and of the exo id"
        )
    if cfg.SUML.ALIGN.KIND == "factorised":
        return (
            "SUML.ALIGN.KIND factorised needs partners by verb and by noun, but SUML.PAIRS.MODE is"
            " paired; set SUML.PAIRS.MODE mined, or another SUML.ALIGN.KIND"
        )
    return None


def _factors(cfg: CfgNode) -> str | None:
    mining = cfg.SUML.PAIRS.MINING
    if cfg.SUML.ALIGN.KIND != "factorised" or mining == "factors":
        return None
    return (
        f"SUML.ALIGN.KIND factorised needs partners by verb and by noun, but SUML.PAIRS.MINING is"
        f" {mining}; set it to factors, and SUML.PAIRS.FILE to a new file"
    )


def _average(cfg: CfgNode) -> str | None:
    if cfg.SOLVER.EMA_DECAY and cfg.BN.USE_PRECISE_STATS:
        return (
            f"SOLVER.EMA_DECAY {cfg.SOLVER.EMA_DECAY} averages batch-norm statistics, which"
            " BN.USE_PRECISE_STATS True would measure for other weights; set SOLVER.EMA_DECAY 0 or"
            " BN.USE_PRECISE_STATS False"
        )
    return None


def _local_paths(cfg: CfgNode) -> str | None:
    for key in _LOCAL_KEYS:
        value = attrgetter(key)(cfg)
        for path in [value] if isinstance(value, str) else value:
            if is_remote(str(path)):
                return f"{key} is {path}, but only input files may be URLs; set it to a local path"
    return None


def _predictions_below_output(cfg: CfgNode) -> str | None:
    path = Path(cfg.TEST.SAVE_PREDICT_PATH)
    if not path.is_absolute() and ".." not in path.parts:
        return None
    return (
        f"TEST.SAVE_PREDICT_PATH is {path}, which may lead out of OUTPUT_DIR; name a file below"
        f" OUTPUT_DIR, such as {path.name or 'predictions.pkl'}"
    )


_RULES: tuple[Rule, ...] = (
    _local_paths,
    _predictions_below_output,
    _shard,
    _slow_frames,
    _jitter,
    _class_counts,
    _head_names,
    _exo_sets,
    _width,
    _temporal_blocks,
    _features,
    _shared_backbone,
    _own_backbone_keys,
    _probe,
    _recomputed_stages,
    _cuda_graphs,
    _clipping,
    _grad_cache,
    _queue,
    _exo_stream,
    _paired,
    _factors,
    _average,
    _steps,
    _nesterov,
)
