"""The statistics of an epoch or a validation as one readable line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ACCURACY = "_top1"


def stats_line(stats: Mapping[str, Any]) -> str:
    """The line of `json_stats` of an epoch or a validation; empty for those of a test.

    A test prints its table instead. Accuracies are top-1 in percent.
    """
    kind = stats.get("_type")
    if kind == "train_epoch":
        parts = [f"epoch {stats['epoch']}  trained in {clock(stats['sec'])}"]
    elif kind == "val_epoch":
        parts = [f"epoch {stats['epoch']}  validation"]
    else:
        return ""
    if "loss" in stats:
        parts.append(f"loss {stats['loss']:.3g}")
    if top1 := [name for name in stats if name.endswith(_ACCURACY)]:
        values = (f"{name.removesuffix(_ACCURACY)} {stats[name]:.1f}" for name in top1)
        parts.append(f"top-1 {', '.join(values)}")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """`1:02:03`, `2:03` below an hour, `3d 1:02:03` above a day."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
