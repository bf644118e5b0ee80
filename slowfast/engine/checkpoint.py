"""Checkpoints: written whole or not at all, found by content, loaded without running code."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


def checkpoint_path(output_dir: str | Path, epochs: int | str) -> Path:
    """`checkpoints/checkpoint_epoch_00030.pyth` after 30 epochs, or `checkpoint_best.pyth`."""
    name = f"epoch_{epochs:05d}" if isinstance(epochs, int) else epochs
    return Path(output_dir) / "checkpoints" / f"checkpoint_{name}.pyth"


def save_checkpoint(
    path: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    cfg_text: str,
    extra: Mapping[str, Any],
) -> Path:
    """Write model, optimizer and progress; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    content = {
        "epoch": epoch,
        "model_state": published_state_dict(model),
        "optimizer_state": optimizer.state_dict(),
        "cfg": cfg_text,
        **extra,
    }
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """The newest checkpoint of a run by its name."""
    found = sorted((Path(output_dir) / "checkpoints").glob("checkpoint_epoch_*.pyth"))
    return found[-1] if found else None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}; check *.CHECKPOINT_FILE_PATH")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as a checkpoint: {reason}") from error
    return content


@dataclass
class LoadReport:
    """What became of the names of a file and of a model."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)


def load_weights(source: str | Path | Mapping[str, Any], model: nn.Module) -> LoadReport:
    content = _read(Path(source)) if isinstance(source, (str, Path)) else source
    state: Mapping[str, Tensor] = content.get("model_state", content)
    report = LoadReport()
    own = published_state_dict(model)
    for name, target in own.items():
        if name not in state:
            if not name.endswith("num_batches_tracked"):
                report.missing.append(name)
        elif state[name].shape != target.shape:
            report.mismatched.append(name)
        else:
            target.copy_(state[name])
            report.loaded.append(name)
    report.unexpected = [name for name in state if name not in own]
    return report


def load_initial_weights(model: nn.Module, cfg: CfgNode) -> None:
    if cfg.TRAIN.CHECKPOINT_FILE_PATH:
        load_weights(cfg.TRAIN.CHECKPOINT_FILE_PATH, model)


def load_training_state(
    path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    content = _read(Path(path))
    load_weights(content, model)
    optimizer.load_state_dict(content["optimizer_state"])
    return content["epoch"] + 1, content


def load_test_weights(model: nn.Module, path: Path, cfg: CfgNode) -> None:
    report = load_weights(path, model)
    if report.missing or report.mismatched:
        raise UserError(f"{path} does not fit: {(report.missing + report.mismatched)[:3]}")
    logger.info("%d extra weights ignored: %s", len(report.unexpected), report.unexpected[:3])
