"""Curves over the epochs: losses, learning rate, accuracy, throughput, data wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slowfast.report.run import ReportRun

# Values of the log that are neither losses nor metrics.
_SPEED = {"sec_per_step": "seconds per step", "data_wait": "share of time waiting for data"}
_OTHER = {"epoch", "iter", "_type", "lr", "sec", "eta_sec", "memory_gib", *_SPEED}
_METRIC_ENDS = ("_top1", "_top5", "_mAP", "_at_1", "_error", "mAP")


def curves(runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    """Charts: title, unit of y, and lines [{run, name, x, y}]; x is the epoch."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for (title, name), points in _series(run).items():
            x, y = zip(*points, strict=True)
            line = {"run": run.name, "name": name, "x": list(x), "y": list(y)}
            groups.setdefault(title, []).append(line)
    order = sorted(groups, key=lambda title: (_rank(title), title))
    return [{"title": title, "lines": groups[title]} for title in order]


def _rank(title: str) -> int:
    first = ("total loss", "losses", "accuracy", "other accuracy", "calibration", "learning rate")
    return next((k for k, start in enumerate(first) if title.startswith(start)), len(first))


def _series(run: ReportRun) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Points by (title of the chart, name of the line)."""
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for stats in run.stats:
        for title, name, value in _values(stats):
            series.setdefault((title, name), []).append((_epoch(stats), value))
    return series


def _values(stats: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(chart, line, value) of one line of the log."""
    kind = stats.get("_type")
    numbers = {k: float(v) for k, v in stats.items() if isinstance(v, (int, float))}
    if kind == "train_iter":
        if "lr" in numbers:
            yield "learning rate", "lr", numbers["lr"]
        for name, title in _SPEED.items():
            if name in numbers:
                yield title, name, numbers[name]
        for name, value in numbers.items():
            if name == "loss":
                yield "total loss", "loss", value
            elif name not in _OTHER and not name.endswith(_METRIC_ENDS):
                yield _loss_title(name), name, value
    elif kind in ("train_epoch", "val_epoch"):
        split = kind.removesuffix("_epoch")
        for name, value in numbers.items():
            if name.endswith(_METRIC_ENDS) and name not in _OTHER:
                yield _metric_title(name), f"{name} ({split})", value


def _loss_title(name: str) -> str:
    counts = ("_empty", "_kept", "_similarity")
    if name == "grad_norm":
        return "norm of the gradient"
    return "pairs" if name.endswith(counts) else "losses"


def _metric_title(name: str) -> str:
    if name.endswith("_error"):
        return "calibration error (%)"
    return (
        "accuracy, top-1 and mAP (%)" if name.endswith(("_top1", "mAP")) else "other accuracy (%)"
    )


def _epoch(stats: Mapping[str, Any]) -> float:
    """Epochs done: `3/18` and `10/25` are 2.4; the end of epoch 3 is 3."""
    epoch, _, _ = str(stats.get("epoch", "0")).partition("/")
    done, _, steps = str(stats.get("iter", "")).partition("/")
    number = float(epoch or 0)
    if done and steps:
        return round(number - 1 + float(done) / max(float(steps), 1.0), 4)
    return number
