"""Chooses the files and the weights that training or a test starts from."""

from __future__ import annotations

import logging

from fvcore.common.config import CfgNode
from torch import nn

from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile
from slowfast.engine.checkpoints.formats import read_checkpoint
from slowfast.engine.checkpoints.match import Match, match_weights
from slowfast.engine.checkpoints.report import LoadOptions, LoadReport, Required
from slowfast.engine.checkpoints.weights import Weights
from slowfast.models.published_names import EXO_HEAD, EXO_ONLY_HEAD
from slowfast.utils.paths import InputPath, input_path, local_path

logger = logging.getLogger(__name__)


def load_test_weights(model: nn.Module, path: InputPath, cfg: CfgNode) -> LoadReport:
    """Load all weights that a test needs; other weights of the file are logged and ignored.

    Raises: UserError if a weight is missing or of another shape.
    """
    checkpoint = read_tested(path, cfg)
    file, target = checkpoint.weights, Weights.of_model(model)
    average = checkpoint.average if cfg.TEST.EMA else None
    if average is not None:
        file = average
        logger.info("%s: testing its averaged weights (TEST.EMA)", path)
    section, _, head = _settings(path, cfg)
    options = LoadOptions(head=head, required=Required.ALL, section=section)
    return match_weights(_of_one_view(file, target), target, options).copy()


def read_tested(path: InputPath, cfg: CfgNode) -> CheckpointFile:
    """Read the file to test, of the type given in the config."""
    section, checkpoint_type, _ = _settings(path, cfg)
    return read_checkpoint(path, checkpoint_type, key=f"{section}.CHECKPOINT_FILE_PATH")


def _settings(path: InputPath, cfg: CfgNode) -> tuple[str, str, str]:
    """(section, CHECKPOINT_TYPE, CHECKPOINT_HEAD) of the section that names the file to test."""
    for section, node in (("TEST", cfg.TEST), ("TRAIN", cfg.TRAIN)):
        named = node.CHECKPOINT_FILE_PATH
        if named and input_path(named) == input_path(path):
            return section, node.CHECKPOINT_TYPE, node.CHECKPOINT_HEAD
    return "TEST", "pytorch", ""


def load_initial_weights(model: nn.Module, cfg: CfgNode) -> list[LoadReport]:
    """Start a training run from TRAIN.CHECKPOINT_FILE_PATH and EXO.CHECKPOINT_FILE_PATH.

    Heads and projections that the files lack keep their random weights. The exo half of a dual
    model comes from the EXO file (of an exo model, or the exo half of a dual one), else from the
    exo weights of the TRAIN file, else from its single backbone; the log says from which.

    Raises: UserError if a file does not fit the model.
    """
    train, target = read_initial(cfg, "TRAIN"), Weights.of_model(model)
    if train is None:
        logger.info("TRAIN.CHECKPOINT_FILE_PATH is empty: training starts from random weights")
    if target.has_exo_half:
        matches = _dual_matches(train, target, cfg)
    elif train is None:
        matches = []
    else:
        file = _of_one_view(train, target)
        matches = [_match(file, target, cfg, cfg.TRAIN.CHECKPOINT_HEAD)]
    return [match.copy() for match in matches]


def read_initial(cfg: CfgNode, section: str) -> Weights | None:
    """Read CHECKPOINT_FILE_PATH of TRAIN, or of EXO, where .pkl means Caffe2; None if empty."""
    path = cfg[section].CHECKPOINT_FILE_PATH
    if not path:
        return None
    key, checkpoint_type = f"{section}.CHECKPOINT_FILE_PATH", cfg.TRAIN.CHECKPOINT_TYPE
    if section == "EXO":
        checkpoint_type = "caffe2" if local_path(path, key).suffix == ".pkl" else "pytorch"
    return read_checkpoint(path, checkpoint_type, key=key).weights


def _of_one_view(file: Weights, model: Weights) -> Weights:
    """For a model of the exo view alone, the exo half of a dual file."""
    if model.heads == [EXO_ONLY_HEAD] and file.has_exo_half:
        return file.as_exo_only()
    return file


def _dual_matches(train: Weights | None, model: Weights, cfg: CfgNode) -> list[Match]:
    """Match the ego half and the exo half with the files that the config names."""
    matches = []
    if train is not None:
        matches.append(_match(train.ego, model.ego, cfg, cfg.TRAIN.CHECKPOINT_HEAD))
    exo = read_initial(cfg, "EXO")
    if exo is not None:
        logger.info("exo half: from EXO.CHECKPOINT_FILE_PATH %s", exo.source)
    elif train is not None:
        what = "exo weights" if train.has_exo_half else "backbone"
        logger.info("exo half: from the %s of TRAIN.CHECKPOINT_FILE_PATH %s", what, train.source)
        exo = train
    if exo is not None:
        matches.append(_match(exo.as_exo_half(), model.exo, cfg))
    return matches


def _match(file: Weights, model: Weights, cfg: CfgNode, head: str = "") -> Match:
    options = LoadOptions(head, cfg.TRAIN.CHECKPOINT_INFLATE, Required.BACKBONE, "TRAIN")
    match = match_weights(file, model, options)
    new_heads = model.heads_among(match.report.missing)
    if new_heads:
        logger.warning(
            "%s: %s starts with random weights; heads in the file: %s%s",
            file.source,
            ", ".join(new_heads),
            ", ".join(file.heads) or "none",
            "" if new_heads == [EXO_HEAD] else " (TRAIN.CHECKPOINT_HEAD names the one to use)",
        )
    return match
