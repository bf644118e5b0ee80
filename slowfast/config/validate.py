"""Rules on several keys of a merged config together, and on what a run trains and tests.

Bounds of a single key are declared with the key, in `defaults`. What depends on the machine
(devices, paths, number of processes) is checked where the run starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.config.bounds import check_bounds
from slowfast.config.defaults import BOUNDS
from slowfast.config.heads import joint_name
from slowfast.utils.errors import UserError

_HEAD_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}

_MULTI_TASK = ("MultiTaskSlowFast", "EgoExoSlowFast")
_WITH_EXO = ("ExoSlowFast", "EgoExoSlowFast")

Rule = Callable[[CfgNode], str | None]


def validate(cfg: CfgNode) -> None:
    """Check the value of every key, then how they fit together.

    Raises: UserError with keys, values and the fix.
    """
    check_bounds(cfg, BOUNDS)
    _raise_first(cfg, _RULES)


def validate_run(cfg: CfgNode) -> None:
    """Check that what is trained and tested fits the model; a config may load without that.

    Raises: UserError with keys, values and the fix.
    """
    _raise_first(cfg, _RUN_RULES)


def _raise_first(cfg: CfgNode, rules: tuple[Rule, ...]) -> None:
    for rule in rules:
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
    alpha = cfg.SLOWFAST.ALPHA
    uses_exo = cfg.SUML.ENABLE or cfg.MODEL.MODEL_NAME in _WITH_EXO
    for key, frames in (("DATA", cfg.DATA.NUM_FRAMES), ("EXO", cfg.EXO.NUM_FRAMES)):
        if frames % alpha and (key == "DATA" or uses_exo):
            return (
                f"{key}.NUM_FRAMES {frames} is not a multiple of SLOWFAST.ALPHA {alpha}; "
                f"set it to {-(-frames // alpha) * alpha}"
            )
    return None


def _jitter(cfg: CfgNode) -> str | None:
    scales, crop = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
    if scales[0] < crop:
        return (
            f"DATA.TRAIN_JITTER_SCALES {scales} begins below DATA.TRAIN_CROP_SIZE {crop}, which"
            f" cannot be cut from it; raise the one to {crop} or lower the other to {scales[0]}"
        )
    return None


def _class_counts(cfg: CfgNode) -> str | None:
    exo, counts = cfg.EXO.NUM_CLASSES_LIST, cfg.MODEL.NUM_CLASSES_LIST
    if len(exo) != 2 or min(exo) < 1:
        return f"EXO.NUM_CLASSES_LIST is {exo}; give [verbs, nouns] (LEMMA: [25, 64])"
    empty = not counts and cfg.MODEL.MODEL_NAME in _MULTI_TASK
    if empty or any(count < 1 for count in counts):
        return (
            f"MODEL.NUM_CLASSES_LIST is {counts}; give [verbs, nouns] "
            "(EPIC-KITCHENS-55: [125, 352], -100: [97, 300])"
        )
    return None


def _head_names(cfg: CfgNode) -> str | None:
    for section in ("MODEL", "EXO"):
        names, counts = cfg[section].HEAD_NAMES, cfg[section].NUM_CLASSES_LIST
        # A model with a single head of MODEL.NUM_CLASSES has no list, and no use for the names.
        if section == "MODEL" and not counts:
            continue
        if fix := _head_names_fix(names, counts):
            return (
                f"{section}.HEAD_NAMES is {names}, of the heads of {section}.NUM_CLASSES_LIST"
                f" {counts}; {fix}"
            )
    return None


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
            return f"give each head a name of its own, instead of {name!r} twice"
    if (joint := joint_name(names)) in names:
        return f"rename {joint!r}: that is the name of the answer of all heads together"
    return None


def _width(cfg: CfgNode) -> str | None:
    width, ratio = cfg.RESNET.WIDTH_PER_GROUP, cfg.SLOWFAST.BETA_INV
    if width % ratio:
        return (
            f"RESNET.WIDTH_PER_GROUP {width} is not a multiple of SLOWFAST.BETA_INV {ratio}, so"
            f" the fast pathway has no whole width; set the width to {-(-width // ratio) * ratio}"
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
    _slow_frames,
    _jitter,
    _class_counts,
    _head_names,
    _width,
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
)

# Model -> data sets of ours that it cannot train on, and what it trains on instead. A model or
# data set that is registered elsewhere is not judged here.
_CANNOT_TRAIN_ON = {
    "SlowFast": (("epickitchen", "lemma", "ego_exo"), "a data set with one label per segment"),
    "MultiTaskSlowFast": (("lemma", "ego_exo"), "epickitchen"),
    "ExoSlowFast": (("epickitchen", "ego_exo"), "lemma"),
    "EgoExoSlowFast": (("epickitchen", "lemma"), "ego_exo"),
}
_CANNOT_TEST_ON = {
    "SlowFast": (("epickitchen", "lemma", "ego_exo"), "a data set with one label per segment"),
    "MultiTaskSlowFast": (("lemma", "ego_exo"), "epickitchen"),
    "ExoSlowFast": (("epickitchen", "ego_exo"), "lemma"),
    "EgoExoSlowFast": (("lemma", "ego_exo"), "epickitchen"),
}
_LOSSES = {
    "SlowFast": "cross_entropy",
    "MultiTaskSlowFast": "cross_entropy",
    "ExoSlowFast": "bce_logit",
    "EgoExoSlowFast": "cross_entropy",
}


_VERB_NOUN = ("action_top1", "verb_top1", "noun_top1", "verb_top5", "noun_top5")
_VALIDATED = {
    "SlowFast": ("top1", "top5"),
    "MultiTaskSlowFast": _VERB_NOUN,
    "ExoSlowFast": ("mAP", "verb_mAP", "noun_mAP"),
    "EgoExoSlowFast": _VERB_NOUN,
}


def _something_to_do(cfg: CfgNode) -> str | None:
    if cfg.TRAIN.ENABLE or cfg.TEST.ENABLE:
        return None
    return "TRAIN.ENABLE and TEST.ENABLE are False: nothing to do; set one of them True"


def _resumable(cfg: CfgNode) -> str | None:
    if not (cfg.TRAIN.ENABLE and cfg.TRAIN.RESUME) or cfg.TRAIN.CHECKPOINT_FILE_PATH:
        return None
    return (
        "TRAIN.RESUME is True and TRAIN.CHECKPOINT_FILE_PATH is empty; name the checkpoint to go"
        " on from, or set TRAIN.RESUME False"
    )


def _no_hand_object_training(cfg: CfgNode) -> str | None:
    if not (cfg.TRAIN.ENABLE and cfg.HANDOBJ.ENABLE):
        return None
    return (
        "HANDOBJ.ENABLE True with TRAIN.ENABLE True: the hand and object heads of Ego-Exo* cannot"
        " be trained here; set TRAIN.ENABLE False to test, or HANDOBJ.ENABLE False to train"
        " without them"
    )


def _data_set_fits(cfg: CfgNode) -> str | None:
    name = cfg.MODEL.MODEL_NAME
    for part, table in (("TRAIN", _CANNOT_TRAIN_ON), ("TEST", _CANNOT_TEST_ON)):
        if part == "TEST" and cfg.TEST.TASK != "recognition" and name == "EgoExoSlowFast":
            continue
        wrong, right = table.get(name, ((), ""))
        if cfg[part].ENABLE and cfg[part].DATASET in wrong:
            return (
                f"{part}.DATASET is {cfg[part].DATASET}, but MODEL.MODEL_NAME {name} takes"
                f" {right}; change one of the two, or set {part}.ENABLE False"
            )
    return None


def _test_task_fits(cfg: CfgNode) -> str | None:
    task, name = cfg.TEST.TASK, cfg.MODEL.MODEL_NAME
    if not cfg.TEST.ENABLE or task in ("recognition", "features"):
        return None
    if name != "EgoExoSlowFast":
        return (
            f"TEST.TASK {task} needs the projections of MODEL.MODEL_NAME EgoExoSlowFast, it is"
            f" {name}; change one of the two"
        )
    if task != "cross_view" and cfg.TEST.DATASET == cfg.EXO.DATASET:
        return (
            f"TEST.DATASET is {cfg.TEST.DATASET}, but TEST.TASK {task} is about ego segments; set"
            " TEST.DATASET epickitchen"
        )
    return None


def _prompts(cfg: CfgNode) -> str | None:
    for key in ("VERB_PROMPTS", "NOUN_PROMPTS"):
        value = cfg.TEST.ZERO_SHOT[key]
        if not value or not all(isinstance(text, str) and "{}" in text for text in value):
            return f"TEST.ZERO_SHOT.{key} is {value}; give sentences with {{}} for the class name"
    return None


def _suml_enabled(cfg: CfgNode) -> str | None:
    if not cfg.TRAIN.ENABLE:
        return None
    if cfg.TRAIN.DATASET == "ego_exo" and not cfg.SUML.ENABLE:
        return (
            "TRAIN.DATASET ego_exo trains SUM-L, but SUML.ENABLE is False; set it True, or set"
            " TRAIN.DATASET epickitchen and MODEL.MODEL_NAME MultiTaskSlowFast"
        )
    if cfg.TRAIN.DATASET in ("epickitchen", "lemma") and cfg.SUML.ENABLE:
        return (
            f"SUML.ENABLE is True, but TRAIN.DATASET {cfg.TRAIN.DATASET} holds no pairs; set"
            " TRAIN.DATASET ego_exo and MODEL.MODEL_NAME EgoExoSlowFast, or SUML.ENABLE False"
        )
    return None


def _verbs_and_nouns(cfg: CfgNode) -> str | None:
    counts = cfg.MODEL.NUM_CLASSES_LIST
    if cfg.MODEL.MODEL_NAME in _MULTI_TASK and len(counts) != 2:
        return f"MODEL.NUM_CLASSES_LIST is {counts}; give two sizes, [verbs, nouns]"
    return None


def _loss_fits(cfg: CfgNode) -> str | None:
    name, loss = cfg.MODEL.MODEL_NAME, cfg.MODEL.LOSS_FUNC
    if cfg.TRAIN.ENABLE and _LOSSES.get(name, loss) != loss:
        return (
            f"MODEL.LOSS_FUNC is {loss}, but MODEL.MODEL_NAME {name} trains with {_LOSSES[name]};"
            " set it so"
        )
    return None


def _best_metric(cfg: CfgNode) -> str | None:
    asked, known = cfg.TRAIN.BEST_METRIC, _VALIDATED.get(cfg.MODEL.MODEL_NAME, ())
    if not cfg.TRAIN.ENABLE or not asked or not known or asked in known:
        return None
    return (
        f"TRAIN.BEST_METRIC is {asked}, which the validation of MODEL.MODEL_NAME"
        f" {cfg.MODEL.MODEL_NAME} does not give; choose one of {', '.join(known)}, or leave"
        " it empty"
    )


_RUN_RULES: tuple[Rule, ...] = (
    _something_to_do,
    _resumable,
    _no_hand_object_training,
    _data_set_fits,
    _test_task_fits,
    _prompts,
    _suml_enabled,
    _verbs_and_nouns,
    _loss_fits,
    _best_metric,
)
