"""Checkpoints of a run: their names, what they hold, which one counts, and what starts a model."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast.engine.checkpoints.compatible import check_resumable
from slowfast.engine.checkpoints.files import damage, write_checkpoint
from slowfast.engine.checkpoints.formats import load_checkpoint_file
from slowfast.engine.checkpoints.names import checkpoint_path, numbered_checkpoints
from slowfast.engine.checkpoints.weight_names import (
    EXO_ONLY_HEAD,
    as_exo_half,
    as_exo_only,
    has_exo_half,
    heads_in,
    is_exo,
)
from slowfast.engine.checkpoints.weights import (
    LoadReport,
    Match,
    Need,
    Shapes,
    load_weights,
    match_weights,
)
from slowfast.models.ego_exo import EgoExoSlowFast
from slowfast.models.published_names import EXO_HEAD, published_state_dict
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, input_path, local_path

__all__ = [
    "LoadReport",
    "Need",
    "Shapes",
    "checkpoint_content",
    "checkpoint_path",
    "last_checkpoint",
    "load_checkpoint_file",
    "load_initial_weights",
    "load_test_weights",
    "load_training_state",
    "load_weights",
    "newest_checkpoint",
    "published_state_dict",
    "save_checkpoint",
]

logger = logging.getLogger(__name__)

_HELD = ("epoch", "model_state", "optimizer_state", "cfg")


def checkpoint_content(
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    cfg_text: str,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """What a checkpoint holds; its tensors are those of the model and the optimizer.

    epoch: zero-based index of the last finished epoch.
    extra: what else a resumed run needs: tensors, numbers, text and containers of them.
    """
    overlap = set(extra) & set(_HELD)
    if overlap:
        raise ValueError(f"extra must not hold {', '.join(sorted(overlap))}")
    return {
        "epoch": epoch,
        "model_state": OrderedDict(published_state_dict(model)),
        "optimizer_state": optimizer.state_dict(),
        "cfg": cfg_text,
        **extra,
    }


def save_checkpoint(path: Path, **content: Any) -> Path:
    """Write a checkpoint that PySlowFast's tools read too; it is there whole or not at all.

    content: the arguments of `checkpoint_content`.

    Raises: OSError where it cannot be written; earlier checkpoints stay whole.
    """
    write_checkpoint(path, checkpoint_content(**content))
    return path


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest checkpoint of a run whose content is whole; newer ones that are not are reported.

    `checkpoint_best.pyth` is not counted.
    """
    for path in reversed(numbered_checkpoints(output_dir).values()):
        fault = damage(path)
        if not fault:
            return path
        logger.warning("checkpoint %s is passed over: %s", path, fault)
    return None


def newest_checkpoint(cfg: CfgNode) -> Path | None:
    """`last_checkpoint` of OUTPUT_DIR, looked for by rank 0 and the same on every rank.

    Raises: UserError where there are checkpoints and all of them are damaged.
    """
    found = None
    if distributed.is_main():
        newest = last_checkpoint(cfg.OUTPUT_DIR)
        found = newest, 0 if newest else len(numbered_checkpoints(cfg.OUTPUT_DIR))
    newest, damaged = distributed.broadcast_object(found)
    if damaged:
        raise UserError(
            f"all {damaged} checkpoint(s) in OUTPUT_DIR {cfg.OUTPUT_DIR} are damaged (the log says "
            "how); move them away to start anew, or set another OUTPUT_DIR"
        )
    return newest


def load_training_state(
    path: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    cfg: CfgNode | None = None,
) -> tuple[int, dict[str, Any]]:
    """Go on from a checkpoint: (index of the next epoch, what else it holds).

    cfg: what the training goes on with, where it may not be just any.

    Raises: UserError where the file does not fit the config, the model or the optimizer.
    """
    content = load_checkpoint_file(path, key="TRAIN.CHECKPOINT_FILE_PATH")
    if cfg is not None:
        check_resumable(content.get("cfg", ""), cfg, path)
    if "optimizer_state" not in content:
        raise UserError(
            f"{path} has no optimizer state to resume from; set TRAIN.RESUME False to start a "
            "training from its weights"
        )
    weights = content["model_state"]
    match = match_weights(
        str(path), weights, published_state_dict(model), need=Need.ALL, section="TRAIN"
    )
    match.copy()
    try:
        optimizer.load_state_dict(content["optimizer_state"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its optimizer state does not fit ({error}); resume with the same MODEL, "
            "SOLVER and SUML keys, or start anew with another OUTPUT_DIR (TRAIN.AUTO_RESUME and "
            "TRAIN.RESUME False)"
        ) from error
    extra = {name: value for name, value in content.items() if name not in _HELD}
    return int(content.get("epoch", -1)) + 1, extra


class _Source(NamedTuple):
    """A file of the configuration, read."""

    name: str
    state: dict[str, Tensor]


def load_test_weights(model: nn.Module, path: InputPath, cfg: CfgNode) -> LoadReport:
    """Load all weights that a test needs; what else the file holds is reported and ignored.

    Type and head of the file are those of the section (TEST, TRAIN) that names it.

    Raises: UserError where a weight is missing or of another shape.
    """
    path = input_path(path)
    section = "TEST"
    if _named(cfg.TRAIN, path) and not _named(cfg.TEST, path):
        section = "TRAIN"
    node, head, checkpoint_type = cfg[section], "", "pytorch"
    if _named(node, path):
        head, checkpoint_type = node.CHECKPOINT_HEAD, node.CHECKPOINT_TYPE
    content = load_checkpoint_file(path, checkpoint_type, key=f"{section}.CHECKPOINT_FILE_PATH")
    state = content["model_state"]
    if cfg.TEST.EMA and "average" in content.get("update", {}):
        state = content["update"]["average"]
        logger.info("%s: its averaged weights are taken (TEST.EMA)", path)
    targets = published_state_dict(model)
    state = _of_one_view(state, targets)
    return match_weights(str(path), state, targets, head, need=Need.ALL, section=section).copy()


def _named(section: CfgNode, path: InputPath) -> bool:
    return bool(section.CHECKPOINT_FILE_PATH) and input_path(section.CHECKPOINT_FILE_PATH) == path


def _of_one_view(state: dict[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For a model of the exo view alone, the exo half of a dual file."""
    if heads_in(targets) == [EXO_ONLY_HEAD] and has_exo_half(state):
        return as_exo_only(state)
    return state


def load_initial_weights(model: nn.Module, cfg: CfgNode) -> list[LoadReport]:
    """Start a training from TRAIN.CHECKPOINT_FILE_PATH and EXO.CHECKPOINT_FILE_PATH.

    Heads and projections that the files lack start anew. The exo half of a dual model comes from
    the EXO file (of an exo model, or the exo half of a dual one), else from the exo weights of the
    TRAIN file, else from its single backbone; the log says from which.

    Raises: UserError where a file does not fit the model.
    """
    source = _train_source(cfg)
    if source is None:
        logger.info("TRAIN.CHECKPOINT_FILE_PATH is empty: the training starts from random weights")
    targets = published_state_dict(model)
    if isinstance(model, EgoExoSlowFast):
        matches = _dual_matches(source, targets, cfg)
    elif source is None:
        matches = []
    else:
        state = _of_one_view(source.state, targets)
        matches = [_start(source.name, state, targets, cfg, cfg.TRAIN.CHECKPOINT_HEAD)]
    return [match.copy() for match in matches]


def _dual_matches(
    train: _Source | None, targets: Mapping[str, Tensor], cfg: CfgNode
) -> list[Match]:
    """Of the ego half and the projections, then of the exo half; as far as there are files."""
    ego_targets = {name: target for name, target in targets.items() if not is_exo(name)}
    exo_targets = {name: target for name, target in targets.items() if is_exo(name)}
    matches = []
    if train is not None:
        ego = {name: value for name, value in train.state.items() if not is_exo(name)}
        matches.append(_start(train.name, ego, ego_targets, cfg, cfg.TRAIN.CHECKPOINT_HEAD))
    exo = _exo_source(cfg, train)
    if exo is not None:
        matches.append(_start(exo.name, as_exo_half(exo.state), exo_targets, cfg))
    return matches


def _train_source(cfg: CfgNode) -> _Source | None:
    path = cfg.TRAIN.CHECKPOINT_FILE_PATH
    if not path:
        return None
    content = load_checkpoint_file(
        path, cfg.TRAIN.CHECKPOINT_TYPE, key="TRAIN.CHECKPOINT_FILE_PATH"
    )
    return _Source(path, content["model_state"])


def _exo_source(cfg: CfgNode, train: _Source | None) -> _Source | None:
    path = cfg.EXO.CHECKPOINT_FILE_PATH
    if path:
        key = "EXO.CHECKPOINT_FILE_PATH"
        kind = "caffe2" if local_path(path, key).suffix == ".pkl" else "pytorch"
        state = load_checkpoint_file(path, kind, key=key)["model_state"]
        logger.info("exo half: from EXO.CHECKPOINT_FILE_PATH %s", path)
        return _Source(path, state)
    if train is None:
        return None
    if has_exo_half(train.state):
        logger.info("exo half: from the exo weights of TRAIN.CHECKPOINT_FILE_PATH %s", train.name)
    else:
        logger.info("exo half: from the backbone of TRAIN.CHECKPOINT_FILE_PATH %s", train.name)
    return train


def _start(
    name: str,
    state: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    cfg: CfgNode,
    head: str = "",
) -> Match:
    match = match_weights(
        name,
        state,
        targets,
        head,
        cfg.TRAIN.CHECKPOINT_INFLATE,
        need=Need.BACKBONE,
        section="TRAIN",
    )
    new_heads = heads_in(match.report.missing)
    if new_heads:
        found = ", ".join(heads_in(state)) or "none"
        logger.warning(
            "%s: %s starts with random weights; heads in the file: %s%s",
            name,
            ", ".join(new_heads),
            found,
            "" if new_heads == [EXO_HEAD] else " (TRAIN.CHECKPOINT_HEAD names the one to take)",
        )
    return match
