"""References of an arm to the runs of other arms: `{checkpoint:ARM}` and `{features:ARM}`.

checkpoint: the last checkpoint of a training run. features: the folder that TEST.TASK features
writes, with one folder per view in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.values import literal
from slowfast.engine.checkpoints.files import checkpoint_path
from slowfast.engine.testing.features import FEATURES

_REFERENCE = re.compile(r"\{(checkpoint|features):([^{}]*)\}")


class Reference(NamedTuple):
    """kind: checkpoint or features. arm: the name of the arm whose run gives it."""

    kind: str
    arm: str


def references(words: Iterable[str]) -> tuple[Reference, ...]:
    """The distinct references in the values of overrides, sorted."""
    return tuple(
        sorted({Reference(*found) for word in words for found in _REFERENCE.findall(word)})
    )


def is_reference(path: str) -> bool:
    """Whether a path of a config refers to the run of another arm."""
    return bool(_REFERENCE.search(path))


def extracts_features(cfg: CfgNode) -> bool:
    """Whether the test of an arm writes features instead of predictions."""
    return bool(cfg.TEST.ENABLE and cfg.TEST.TASK == "features")


def missing(kind: str, cfg: CfgNode) -> str:
    """Reason why an arm of this config does not give what is taken from it; empty if it does."""
    if kind == "checkpoint":
        return "" if cfg.TRAIN.ENABLE else "does not train"
    if not extracts_features(cfg):
        return "extracts no features; set its TEST.TASK to features"
    if cfg.TEST.FEATURES.DIR:
        return "has one TEST.FEATURES.DIR for all seeds; remove it, so that every run has its own"
    return ""


def resolved(word: str, given: Callable[[Reference], Path]) -> str:
    """A word of overrides with paths in place of its references."""
    if not is_reference(word):
        return word
    listed = literal(word)
    if isinstance(listed, list):
        return repr([resolved(item, given) for item in listed])
    return _REFERENCE.sub(lambda found: str(given(Reference(*found.groups()))), word)


def given_path(kind: str, cfg: CfgNode, folder: Path) -> Path:
    """Path that a reference to the run in `folder` stands for."""
    if kind == "checkpoint":
        return checkpoint_path(folder, cfg.SOLVER.MAX_EPOCH)
    return folder / FEATURES
