"""Rules on what a run trains and tests: whether its model, data and task fit each other.

The rules only use the specs of registered models and data sets, so new ones need no change here.
They are checked before a run starts, not when a config is loaded.
"""

from __future__ import annotations

from collections.abc import Callable

from fvcore.common.config import CfgNode

from slowfast.config.derived import alpha_of
from slowfast.datasets.registry import JOINED_REGISTRY
from slowfast.engine.preflight.data_rules import test_data_fits, train_data_fits
from slowfast.evaluation.head_values import check_metrics
from slowfast.evaluation.metric_names import best_metric
from slowfast.models.registry import MODEL_REGISTRY, ModelSpec, model_spec
from slowfast.tasks.terms.requirements import check_terms
from slowfast.utils.errors import UserError

Rule = Callable[[CfgNode, ModelSpec], str | None]

_DUAL_TASKS = ("retrieval", "cross_view", "zero_shot")


def validate_run(cfg: CfgNode) -> None:
    """Check that what is trained and tested fits the model.

    Raises: UserError with keys, values and the fix.
    """
    spec = model_spec(cfg)
    for rule in _RULES:
        if message := rule(cfg, spec):
            raise UserError(message)


def _test_model(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if not spec.is_dual and not spec.tested_as:
        return None
    tested = MODEL_REGISTRY.get(spec.tested_as) if spec.tested_as in MODEL_REGISTRY else None
    if tested is not None and tested.views == (spec.view,):
        return None
    fitting = [n for n in MODEL_REGISTRY if MODEL_REGISTRY.get(n).views == (spec.view,)]
    return (
        f"MODEL.MODEL_NAME {spec.name} is registered with tested_as {spec.tested_as!r}, which is"
        f" not a model of {spec.view} clips alone; register it with one of {', '.join(fitting)}"
    )


def _something_to_do(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if cfg.TRAIN.ENABLE or cfg.TEST.ENABLE:
        return None
    return "TRAIN.ENABLE and TEST.ENABLE are False: nothing to do; set one of them True"


def _resumable(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if not (cfg.TRAIN.ENABLE and cfg.TRAIN.RESUME) or cfg.TRAIN.CHECKPOINT_FILE_PATH:
        return None
    return (
        "TRAIN.RESUME is True and TRAIN.CHECKPOINT_FILE_PATH is empty; name the checkpoint to"
        " resume from, or set TRAIN.RESUME False"
    )


def _no_hand_object_training(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if not (cfg.TRAIN.ENABLE and cfg.HANDOBJ.ENABLE):
        return None
    return (
        "HANDOBJ.ENABLE True with TRAIN.ENABLE True: training the hand and object heads of Ego-Exo*"
        " is not supported; set TRAIN.ENABLE False to test, or HANDOBJ.ENABLE False to train"
        " without them"
    )


def _class_counts(cfg: CfgNode, spec: ModelSpec) -> str | None:
    for view in spec.views:
        section = "EXO" if view == "exo" else "MODEL"
        counts = cfg[section].NUM_CLASSES_LIST
        # An exo half may lack labels; the validated view needs them.
        if not counts and view == spec.view:
            return (
                f"{section}.NUM_CLASSES_LIST is [], but MODEL.MODEL_NAME {spec.name} classifies"
                f" {view} clips; give the number of classes of each head (EPIC-KITCHENS-55:"
                " [125, 352], -100: [97, 300], LEMMA: [25, 64])"
            )
    return None


def _exo_frames(cfg: CfgNode, spec: ModelSpec) -> str | None:
    frames, alpha = cfg.EXO.NUM_FRAMES, alpha_of(cfg, "exo")
    if "exo" not in spec.views or frames % alpha == 0:
        return None
    return (
        f"EXO.NUM_FRAMES {frames} is not a multiple of SLOWFAST.ALPHA {alpha}; set it to"
        f" {-(-frames // alpha) * alpha}"
    )


def _test_task_fits(cfg: CfgNode, spec: ModelSpec) -> str | None:
    task = cfg.TEST.TASK
    if not cfg.TEST.ENABLE or task not in _DUAL_TASKS or spec.is_dual:
        return None
    dual = [name for name in MODEL_REGISTRY if MODEL_REGISTRY.get(name).is_dual]
    return (
        f"TEST.TASK {task} needs the projections of a dual model, but MODEL.MODEL_NAME is"
        f" {spec.name}; set it to one of {', '.join(dual)}, or TEST.TASK recognition"
    )


def _prompts(cfg: CfgNode, spec: ModelSpec) -> str | None:
    for key in ("VERB_PROMPTS", "NOUN_PROMPTS"):
        value = cfg.TEST.ZERO_SHOT[key]
        if not value or not all(isinstance(text, str) and "{}" in text for text in value):
            return f"TEST.ZERO_SHOT.{key} is {value}; give sentences with {{}} for the class name"
    return None


def _suml_enabled(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if not cfg.TRAIN.ENABLE or spec.is_dual == cfg.SUML.ENABLE:
        return None
    if spec.is_dual:
        return (
            f"MODEL.MODEL_NAME {spec.name} trains SUM-L, but SUML.ENABLE is False; set it True, or"
            f" set MODEL.MODEL_NAME {spec.tested_as} and TRAIN.DATASET {cfg.EGO.DATASET}"
        )
    dual = [name for name in MODEL_REGISTRY if MODEL_REGISTRY.get(name).is_dual]
    return (
        f"SUML.ENABLE is True, but MODEL.MODEL_NAME {spec.name} takes {spec.view} clips alone; set"
        f" MODEL.MODEL_NAME to one of {', '.join(dual)} and TRAIN.DATASET to one of"
        f" {', '.join(JOINED_REGISTRY)}, or SUML.ENABLE False"
    )


def _loss_fits(cfg: CfgNode, spec: ModelSpec) -> str | None:
    loss = cfg.MODEL.LOSS_FUNC
    if not cfg.TRAIN.ENABLE or loss in spec.losses:
        return None
    return (
        f"MODEL.LOSS_FUNC is {loss}, but MODEL.MODEL_NAME {spec.name} trains with"
        f" {' or '.join(spec.losses)}; set it to that"
    )


def _terms(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if cfg.TRAIN.ENABLE and spec.is_dual:
        check_terms(cfg)
    return None


def _pair_table(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if not (cfg.TRAIN.ENABLE and spec.is_dual) or cfg.SUML.PAIRS.FILE:
        return None
    return (
        f"TRAIN.DATASET {cfg.TRAIN.DATASET} joins clips by pairs, but SUML.PAIRS.FILE is empty; set"
        " it to the table that tools/mine_pairs.py writes"
    )


def _metrics(cfg: CfgNode, spec: ModelSpec) -> str | None:
    check_metrics(spec.heads(cfg))
    return None


def _best_metric(cfg: CfgNode, spec: ModelSpec) -> str | None:
    if cfg.TRAIN.ENABLE:
        best_metric(spec.heads(cfg), cfg.TRAIN.BEST_METRIC)
    return None


_RULES: tuple[Rule, ...] = (
    _test_model,
    _something_to_do,
    _resumable,
    _no_hand_object_training,
    _class_counts,
    _exo_frames,
    train_data_fits,
    test_data_fits,
    _test_task_fits,
    _prompts,
    _suml_enabled,
    _loss_fits,
    _terms,
    _pair_table,
    _metrics,
    _best_metric,
)
