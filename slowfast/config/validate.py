"""Checks of a merged config: the bounds of each key, then the rules on combinations of keys.

Bounds of single keys are declared with the key, in `defaults`. Rules on the data and tasks of a
run, and on the machine (devices, paths, number of processes), are checked before it starts
(engine/preflight).
"""

from __future__ import annotations

from collections.abc import Callable

from fvcore.common.config import CfgNode

from slowfast.config.bounds import check_bounds
from slowfast.config.defaults import BOUNDS
from slowfast.config.rules import clips, heads, model, run, solver, suml
from slowfast.utils.errors import UserError

Rule = Callable[[CfgNode], str | None]

# The first rule that a config breaks is the one reported.
_RULES: tuple[Rule, ...] = (
    run.local_paths,
    run.predictions_below_output,
    run.shard,
    clips.slow_frames,
    clips.jitter,
    heads.class_counts,
    heads.head_names,
    heads.exo_sets,
    model.fast_width,
    model.temporal_blocks,
    model.stored_features,
    model.shared_backbone,
    model.own_backbone_keys,
    model.probe,
    model.recomputed_stages,
    model.cuda_graphs,
    solver.clipping,
    suml.grad_cache,
    suml.queue,
    suml.exo_stream,
    suml.paired,
    suml.factors,
    solver.weight_average,
    solver.step_schedule,
    solver.nesterov,
)


def validate(cfg: CfgNode) -> None:
    """Check the value of every key, then the combinations of keys.

    Raises: UserError with keys, values and the fix.
    """
    check_bounds(cfg, BOUNDS)
    for rule in _RULES:
        if message := rule(cfg):
            raise UserError(message)
