"""Resumes a run from a checkpoint: everything that it holds, checked before the first step."""

from __future__ import annotations

import logging
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.checkpoint import load_training_state
from slowfast.engine.checkpoints.same_data import check_data
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.engine.step.update import Update
from slowfast.models.registry import model_spec
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.reading import reading

logger = logging.getLogger(__name__)

_FIX = "resume from another checkpoint, or start from its weights with TRAIN.RESUME False"


@dataclass
class TrainingState:
    """State of a run in addition to its weights and its optimizer.

    best: value of the best validation so far, by the name of its metric, and its `epoch`.
    nonfinite_skipped: number of non-finite steps so far.
    """

    progress: EpochProgress
    best: dict[str, float] = field(default_factory=dict)
    nonfinite_skipped: int = 0


def load_training(
    cfg: CfgNode, device: torch.device, update: Update, path: Path, data: Mapping[str, str]
) -> TrainingState:
    """Load the checkpoint at `path` into `update`, and return the rest of its state.

    data: `data_digests` of this run. Raises: UserError if the file belongs to another run.
    """
    epoch, extra = load_training_state(path, update.model, update.optimizer, cfg)
    check_data(extra, data, path, accepted=cfg.TRAIN.ACCEPT_CHANGED_DATA)
    progress = EpochProgress(epoch, model_spec(cfg).heads(cfg))
    with reading(path, "the state of a training run", _FIX):
        if "progress" in extra:
            progress.load_gathered_state(extra["progress"], device)
        update.load_state_dict(extra.get("update", {}))
    state = TrainingState(
        progress, _best(extra, path), _count(extra.get("nonfinite_skipped", 0), path)
    )
    logger.info(
        "resumed from %s: %d epoch(s) and %d step(s) are done", path, epoch, progress.iteration
    )
    if epoch >= cfg.SOLVER.MAX_EPOCH and distributed.is_main():
        logger.warning(
            "%s has finished all SOLVER.MAX_EPOCH %d epochs: nothing is left to train; set another "
            "OUTPUT_DIR to start again",
            path,
            cfg.SOLVER.MAX_EPOCH,
        )
    return state


def _best(extra: Mapping[str, Any], path: Path) -> dict[str, float]:
    best = extra.get("best", {})
    if isinstance(best, Mapping) and all(map(_is_number, best.values())):
        return dict(best)
    raise UserError(f"{path}: its best validation is {reprlib.repr(best)}, not numbers; {_FIX}")


def _count(value: object, path: Path) -> int:
    if isinstance(value, int) and value >= 0:
        return value
    raise UserError(f"{path}: its nonfinite_skipped is {reprlib.repr(value)}, not a count; {_FIX}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
