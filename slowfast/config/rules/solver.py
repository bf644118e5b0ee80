"""Rules on the optimizer and its schedule."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from fvcore.common.config import CfgNode


def clipping(cfg: CfgNode) -> str | None:
    """Gradients are clipped by value or by norm, not both."""
    value, norm = cfg.SOLVER.CLIP_GRAD_VAL, cfg.SOLVER.CLIP_GRAD_L2NORM
    if value and norm:
        return (
            f"SOLVER.CLIP_GRAD_VAL is {value} and SOLVER.CLIP_GRAD_L2NORM is {norm}; set one of"
            " them to 0"
        )
    return None


def weight_average(cfg: CfgNode) -> str | None:
    """Averaged weights keep their own batch-norm statistics."""
    if cfg.SOLVER.EMA_DECAY and cfg.BN.USE_PRECISE_STATS:
        return (
            f"SOLVER.EMA_DECAY {cfg.SOLVER.EMA_DECAY} averages batch-norm statistics, which"
            " BN.USE_PRECISE_STATS True would measure for other weights; set SOLVER.EMA_DECAY 0 or"
            " BN.USE_PRECISE_STATS False"
        )
    return None


def step_schedule(cfg: CfgNode) -> str | None:
    """Steps and factors of the stepwise schedule match."""
    if cfg.SOLVER.LR_POLICY != "steps_with_relative_lrs":
        return None
    steps, factors = cfg.SOLVER.STEPS, cfg.SOLVER.LRS
    if not all(_is_number(number) for number in (*steps, *factors)):
        return f"SOLVER.STEPS is {steps} and SOLVER.LRS is {factors}; give numbers only"
    if len(steps) != len(factors):
        return (
            f"SOLVER.STEPS {steps} has {len(steps)} entries and SOLVER.LRS {factors} has"
            f" {len(factors)}; give one factor per step"
        )
    if not steps or steps[0] != 0 or any(a >= b for a, b in pairwise(steps)):
        return f"SOLVER.STEPS is {steps}; give increasing epochs that begin with 0"
    if min(factors) < 0:
        return f"SOLVER.LRS is {factors}; give factors of SOLVER.BASE_LR, 0 or more"
    return None


def nesterov(cfg: CfgNode) -> str | None:
    """Nesterov momentum needs momentum without dampening."""
    solver = cfg.SOLVER
    if solver.OPTIMIZING_METHOD != "sgd" or not solver.NESTEROV:
        return None
    if solver.MOMENTUM == 0 or solver.DAMPENING != 0:
        return (
            f"SOLVER.NESTEROV True needs a SOLVER.MOMENTUM above 0 (it is {solver.MOMENTUM}) and"
            f" SOLVER.DAMPENING 0 (it is {solver.DAMPENING}); or set SOLVER.NESTEROV False"
        )
    return None


def schedule_warning(cfg: CfgNode) -> str | None:
    """Warning about a schedule that is valid but probably a mistake; None without one."""
    solver = cfg.SOLVER
    if solver.WARMUP_EPOCHS >= solver.MAX_EPOCH and solver.WARMUP_EPOCHS:
        return (
            f"SOLVER.WARMUP_EPOCHS {solver.WARMUP_EPOCHS} is not shorter than SOLVER.MAX_EPOCH"
            f" {solver.MAX_EPOCH}, so the learning rate never reaches SOLVER.BASE_LR"
        )
    if solver.LR_POLICY == "steps_with_relative_lrs" and cfg.TRAIN.ENABLE:
        # Configs of this field often end with a step at the last epoch.
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
