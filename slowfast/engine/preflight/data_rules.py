"""Rules on the data sets of a run: whether their clips and labels fit the model."""

from __future__ import annotations

from collections.abc import Sequence

from fvcore.common.config import CfgNode

from slowfast.config.exo_sources import exo_sources
from slowfast.config.heads import HeadSpec, heads_of
from slowfast.datasets.registry import JOINED_REGISTRY, SOURCE_REGISTRY
from slowfast.models.registry import MODEL_REGISTRY, ModelSpec
from slowfast.utils.errors import UserError


def train_data_fits(cfg: CfgNode, spec: ModelSpec) -> str | None:
    """Fault in TRAIN.DATASET, EGO.DATASET and EXO.DATASET, with the fix."""
    if not cfg.TRAIN.ENABLE:
        return None
    return _data_fits("TRAIN", cfg.TRAIN.DATASET, cfg, spec, spec.views)


def test_data_fits(cfg: CfgNode, spec: ModelSpec) -> str | None:
    """Fault in TEST.DATASET, with the fix."""
    task, tested = cfg.TEST.TASK, cfg.TEST.DATASET
    if not cfg.TEST.ENABLE:
        return None
    if task == "recognition" or not spec.is_dual:
        return _data_fits("TEST", tested, cfg, spec, (spec.view,))
    if task != "features" and task != "cross_view" and tested == cfg.EXO.DATASET != cfg.EGO.DATASET:
        return (
            f"TEST.DATASET is {tested}, but TEST.TASK {task} is about ego segments; set"
            f" TEST.DATASET {cfg.EGO.DATASET}"
        )
    return None


def _data_fits(
    section: str, name: str, cfg: CfgNode, spec: ModelSpec, views: Sequence[str]
) -> str | None:
    """Whether the data set holds clips of the views, with labels for the model's heads."""
    if cfg.EXO.MORE and tuple(views) == ("exo",):
        return (
            f"EXO.MORE adds exo sets to those of SUM-L, but MODEL.MODEL_NAME {spec.name} has a"
            " single exo set; set EXO.MORE [] and EXO.WEIGHTS []"
        )
    holds = _views_of(name, f"{section}.DATASET")
    if len(views) > 1:
        if len(holds) > 1:
            return _halves_fit(cfg)
        fitting = list(JOINED_REGISTRY)
    else:
        if len(holds) == 1 and views[0] in SOURCE_REGISTRY.get(name).views:
            return _heads_fit(f"{section}.DATASET", name, spec.heads(cfg), spec)
        fitting = [n for n in SOURCE_REGISTRY if views[0] in SOURCE_REGISTRY.get(n).views]
    models = [n for n in MODEL_REGISTRY if _takes(MODEL_REGISTRY.get(n), name, section)]
    return (
        f"{section}.DATASET {name} holds {' and '.join(holds)} clips, but MODEL.MODEL_NAME"
        f" {spec.name} {'trains on' if section == 'TRAIN' else 'is tested on'}"
        f" {' and '.join(views)} clips; set {section}.DATASET to one of {', '.join(fitting)}, or"
        f" MODEL.MODEL_NAME to one of {', '.join(models)}, or {section}.ENABLE False"
    )


def _views_of(name: str, key: str) -> tuple[str, ...]:
    """The views that a data set holds at once; of a source that can be either, the first."""
    if name in JOINED_REGISTRY:
        return ("ego", "exo")
    if name not in SOURCE_REGISTRY:
        known = ", ".join(sorted((*SOURCE_REGISTRY, *JOINED_REGISTRY)))
        raise UserError(f"{key} {name!r} is not a registered data set; choose one of {known}")
    return SOURCE_REGISTRY.get(name).views[:1]


def _takes(spec: ModelSpec, name: str, section: str) -> bool:
    """Whether a model of that kind trains on, or is tested on, the data set."""
    views = spec.views if section == "TRAIN" else (spec.view,)
    if name in JOINED_REGISTRY:
        return len(views) > 1
    return len(views) == 1 and views[0] in SOURCE_REGISTRY.get(name).views


def _halves_fit(cfg: CfgNode) -> str | None:
    """Whether EGO.DATASET and EXO.DATASET are labelled as their heads say."""
    halves = [("ego", "EGO.DATASET", cfg)]
    halves += [("exo", "EXO.DATASET", source.cfg) for source in exo_sources(cfg)]
    for view, key, half in halves:
        name = half[key.split(".")[0]].DATASET
        spec = SOURCE_REGISTRY.get(name, key)
        if view not in spec.views:
            fitting = [n for n in SOURCE_REGISTRY if view in SOURCE_REGISTRY.get(n).views]
            return f"{key} {name} has no {view} clips; set it to one of {', '.join(fitting)}"
        if message := _heads_fit(key, name, heads_of(half, view)):
            return message
    return None


def _heads_fit(
    key: str, name: str, heads: Sequence[HeadSpec], model: ModelSpec | None = None
) -> str | None:
    labelled, named = SOURCE_REGISTRY.get(name, key).heads, [head.name for head in heads]
    if labelled is None or named == list(labelled):
        return None
    section = "EXO" if key.startswith("EXO") else "MODEL"
    if model is not None and model.view == "exo":
        section = "EXO"
    whose = f"MODEL.MODEL_NAME {model.name}" if model is not None else section
    if not labelled:
        if model is not None or section == "MODEL":
            fix = "use a labelled data set"
        else:
            fix = f"set {section}.HEAD_NAMES [] and {section}.NUM_CLASSES_LIST []"
        return f"{key} {name} has no labels, but the heads of {whose} are {named}; {fix}"
    return (
        f"{key} {name} is labelled with {list(labelled)}, but the heads of {whose} are {named};"
        f" set {section}.HEAD_NAMES {list(labelled)} with their numbers of classes in"
        f" {section}.NUM_CLASSES_LIST, or use a model with these heads, or another data set"
    )
