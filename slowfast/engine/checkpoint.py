"""Checkpoints of a run: saving one, finding the newest, loading weights and training state.

The parts are in `slowfast.engine.checkpoints`; the engine and the tools import this module.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile, checkpoint_content
from slowfast.engine.checkpoints.compatible import check_resumable
from slowfast.engine.checkpoints.files import (
    BEST,
    checkpoint_path,
    damage,
    numbered_checkpoints,
    write_checkpoint,
)
from slowfast.engine.checkpoints.formats import read_checkpoint
from slowfast.engine.checkpoints.match import match_weights
from slowfast.engine.checkpoints.optimizer_state import load_optimizer_state
from slowfast.engine.checkpoints.report import LoadOptions, LoadReport, Required
from slowfast.engine.checkpoints.start import load_initial_weights, load_test_weights
from slowfast.engine.checkpoints.weights import Weights
from slowfast.models.published_names import published_state_dict
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path

__all__ = [
    "LoadReport",
    "Required",
    "checkpoint_content",
    "checkpoint_path",
    "last_checkpoint",
    "load_initial_weights",
    "load_test_weights",
    "load_training_state",
    "load_weights",
    "newest_checkpoint",
    "published_state_dict",
    "read_checkpoint",
    "resumed_checkpoint",
    "save_checkpoint",
]

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, **content: Any) -> Path:
    """Write a checkpoint atomically, in a format that PySlowFast's tools can read.

    content: the arguments of `checkpoint_content`.

    Raises: OSError if it cannot be written; earlier checkpoints stay intact.
    """
    write_checkpoint(path, checkpoint_content(**content))
    return path


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """Find the newest undamaged checkpoint of a run; newer ones that are damaged are logged.

    `checkpoint_best.pyth` is not considered.
    """
    for path in reversed(numbered_checkpoints(output_dir).values()):
        fault = damage(path)
        if not fault:
            return path
        logger.warning("skipped checkpoint %s: %s", path, fault)
    return None


def newest_checkpoint(cfg: CfgNode) -> Path | None:
    """`last_checkpoint` of OUTPUT_DIR, found by rank 0 and the same on every rank.

    Raises: UserError if OUTPUT_DIR has checkpoints and all of them are damaged.
    """
    found = None
    if distributed.is_main():
        newest = last_checkpoint(cfg.OUTPUT_DIR)
        found = newest, 0 if newest else len(numbered_checkpoints(cfg.OUTPUT_DIR))
    newest, damaged = distributed.broadcast_object(found)
    if damaged:
        raise UserError(
            f"all {damaged} checkpoint(s) in OUTPUT_DIR {cfg.OUTPUT_DIR} are damaged (see the log);"
            " move them away to start again, or set another OUTPUT_DIR"
        )
    return newest


def resumed_checkpoint(cfg: CfgNode) -> Path | None:
    """Choose the checkpoint that a run resumes from; None: it starts from initial weights.

    Raises: UserError if OUTPUT_DIR cannot hold checkpoints; as `newest_checkpoint`.
    """
    folder = checkpoint_path(cfg.OUTPUT_DIR, BEST).parent
    if os.path.lexists(folder) and not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(
            f"{folder} is not a writable folder, but checkpoints are saved there; move it away, "
            "or set another OUTPUT_DIR"
        )
    if cfg.TRAIN.AUTO_RESUME:
        newest = newest_checkpoint(cfg)
        if newest is not None:
            return newest
    elif numbered_checkpoints(cfg.OUTPUT_DIR) and distributed.is_main():
        logger.warning(
            "OUTPUT_DIR %s holds checkpoints of an earlier training run. They stay next to the "
            "new ones, unless a new one has the same name, and a later run may resume from them; "
            "set another OUTPUT_DIR",
            cfg.OUTPUT_DIR,
        )
    key = "TRAIN.CHECKPOINT_FILE_PATH"
    return local_path(cfg.TRAIN.CHECKPOINT_FILE_PATH, key) if cfg.TRAIN.RESUME else None


def load_training_state(
    path: InputPath,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    cfg: CfgNode | None = None,
) -> tuple[int, dict[str, Any]]:
    """Load the state of a run: (index of the next epoch, the other entries of the file).

    cfg: of the run that resumes; None: not compared with the checkpoint's.

    Raises: UserError if the file does not fit the config, the model or the optimizer.
    """
    checkpoint = read_checkpoint(path, key="TRAIN.CHECKPOINT_FILE_PATH")
    if cfg is not None:
        check_resumable(
            checkpoint.cfg_text,
            cfg,
            path,
            saved_processes=checkpoint.processes,
            processes=distributed.world_size(),
        )
    if checkpoint.optimizer_state is None:
        raise UserError(
            f"{path} has no optimizer state to resume from; set TRAIN.RESUME False to start from "
            "its weights"
        )
    next_epoch = checkpoint.epoch + 1
    options, target = LoadOptions(required=Required.ALL, section="TRAIN"), Weights.of_model(model)
    if checkpoint.average is not None:
        match_weights(checkpoint.average, target, options)
    match_weights(checkpoint.weights, target, options).copy()
    load_optimizer_state(optimizer, checkpoint.optimizer_state, model, str(path))
    return next_epoch, checkpoint.extra


def load_weights(
    source: Path | str | Mapping[str, Any],
    model: nn.Module,
    *,
    checkpoint_type: str = "pytorch",
    head: str = "",
    inflate: bool = False,
    required: Required = Required.NOTHING,
) -> LoadReport:
    """Copy the weights of a file, checkpoint or state dict into `model`; logs and returns a report.

    checkpoint_type: pytorch (also .safetensors) or caffe2.
    head: name of the model's head in the file, if the file is from another task.
    inflate: turn 2-D convolutions into 3-D ones.
    required: the weights that the file must have.

    Raises: UserError, before any weight is changed, for a file that cannot be read or does not
        have what is required.
    """
    if isinstance(source, (str, Path)):
        checkpoint = read_checkpoint(source, checkpoint_type)
    else:
        checkpoint = CheckpointFile.from_content("the state dict", source)
    options = LoadOptions(head, inflate, required)
    return match_weights(checkpoint.weights, Weights.of_model(model), options).copy()
