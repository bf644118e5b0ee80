"""Check that model, data and config give each term what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fvcore.common.config import CfgNode

from slowfast.config.derived import uses_exo
from slowfast.config.heads import ego_heads, exo_heads
from slowfast.models.parts import Part
from slowfast.tasks.terms.base import Input, Requirement, needs_of
from slowfast.tasks.terms.registry import WeightedTerm, weighted_terms
from slowfast.utils.errors import UserError


def check_terms(cfg: CfgNode) -> None:
    """Check the terms of a config before data is read or a model is built.

    Every dual model is assumed to have its projections; `check_requirements` inspects the built
    one.
    Raises: UserError, as `check_requirements`.
    """
    parts = frozenset(Part) if exo_heads(cfg) else frozenset(Part) - {Part.EXO_HEADS}
    check_requirements(cfg, parts, weighted_terms(cfg))


def check_requirements(cfg: CfgNode, parts: frozenset[Part], terms: Sequence[WeightedTerm]) -> None:
    """Refuse terms that lack something, before the first step.

    parts: of the model.

    Raises: UserError that names the weight, what is missing and the fix.
    """
    for key, weight, term in terms:
        needs = needs_of([term])
        # In definition order, so that every run reports the same one.
        for need in (need for kind in (Part, Input) for need in kind if need in needs):
            if reason := _reason_missing(cfg, parts, need):
                raise UserError(
                    f"SUML.WEIGHTS.{key} is {weight:g}, which needs {need.value}, but {reason}, or"
                    f" set SUML.WEIGHTS.{key} 0"
                )


def _reason_missing(cfg: CfgNode, parts: frozenset[Part], need: Requirement) -> str | None:
    """Why the requirement is not met, and a fix; None if it is met."""
    if isinstance(need, Input):
        return _INPUTS[need](cfg)
    if need in parts:
        return None
    if need is Part.EXO_HEADS:
        return "EXO.NUM_CLASSES_LIST is []; set it to the number of classes of each exo head"
    return f"MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} has none; set another MODEL.MODEL_NAME"


def _exo_clip(cfg: CfgNode) -> str | None:
    if uses_exo(cfg):
        return None
    return "weights that begin with EGO_ read no exo clips; rename its key"


def _exo_labels(cfg: CfgNode) -> str | None:
    if exo_heads(cfg):
        return None
    return (
        f"EXO.NUM_CLASSES_LIST is []; set SUML.NEGATIVES (now {cfg.SUML.NEGATIVES}) to all or"
        " drop_same_text"
    )


def _partner(cfg: CfgNode) -> str | None:
    if cfg.SUML.PAIRS.FILE:
        return None
    return "SUML.PAIRS.FILE is empty; set it to the table that tools/mine_pairs.py writes"


def _factor_partners(cfg: CfgNode) -> str | None:
    """SUML.PAIRS.MINING is checked with the config."""
    names = [head.name for head in ego_heads(cfg)]
    if {"verb", "noun"} <= set(names):
        return None
    return f"MODEL.HEAD_NAMES is {names}; set SUML.ALIGN.KIND dcl"


def _narrations(cfg: CfgNode) -> str | None:
    if cfg.SUML.ENCODER:
        return None
    return "SUML.ENCODER is empty; set it to a sentence encoder"


_INPUTS: dict[Input, Callable[[CfgNode], str | None]] = {
    Input.EXO_CLIP: _exo_clip,
    Input.EXO_LABELS: _exo_labels,
    Input.PARTNER: _partner,
    Input.FACTOR_PARTNERS: _factor_partners,
    Input.NARRATIONS: _narrations,
}
