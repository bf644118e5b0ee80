"""The hyperparameters of a run, and the metrics next to them, in TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.config.defaults import PATHS
from slowfast.config.heads import HeadSpec
from slowfast.config.load import changed
from slowfast.evaluation.metric_names import validation_metrics


def hyperparameters(cfg: CfgNode) -> dict[str, Any]:
    """The keys that differ from the defaults, except paths."""
    return {key: value for key, (_, value) in changed(cfg).items() if key not in PATHS}


def final_metrics(cfg: CfgNode, heads: Sequence[HeadSpec]) -> list[str]:
    """Tags of the scalars that a run ends with: the metrics of its validation and its test."""
    tested = cfg.TEST.ENABLE and cfg.TEST.TASK == "recognition"
    splits = ("val", "test") if tested else ("val",)
    return [f"{split}/{name}" for split in splits for name in validation_metrics(heads)]
