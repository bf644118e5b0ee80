"""Summary of the run: a few lines, and its config against the defaults."""

from __future__ import annotations

from typing import Any

from slowfast.config.load import changed
from slowfast.report.run import ReportRun


def summary(run: ReportRun) -> dict[str, Any]:
    """lines: [name, value]. config: [key, default, value] of every key that differs."""
    return {"lines": _lines(run), "config": _changed(run)}


def _lines(run: ReportRun) -> list[list[str]]:
    lines = []
    if run.cfg is not None:
        cfg = run.cfg
        data = cfg.TRAIN.DATASET
        if data == "ego_exo":
            data = f"{cfg.EGO.DATASET} with {cfg.EXO.DATASET}"
        lines = [
            ["model", cfg.MODEL.MODEL_NAME],
            ["data", data],
            ["batch", f"{cfg.TRAIN.BATCH_SIZE} clips"],
            ["schedule", f"{cfg.SOLVER.MAX_EPOCH} epochs, {cfg.SOLVER.OPTIMIZING_METHOD}"],
            ["seed", str(cfg.RNG_SEED)],
        ]
    epochs = list(run.of_type("train_epoch"))
    if epochs:
        seconds = sum(stats.get("sec", 0.0) for stats in epochs)
        lines += [
            ["trained", f"epoch {epochs[-1]['epoch']}, {_duration(seconds)} of steps"],
            ["last step", f"{epochs[-1].get('sec_per_step', 0.0):.3f} s"],
        ]
    if run.results:
        lines.append(["tested", f"{run.results['num_segments']} segments"])
    if run.folder is not None:
        lines.append(["folder", str(run.folder)])
    return lines


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _changed(run: ReportRun) -> list[list[str]]:
    if run.cfg is None:
        return []
    return [[key, str(default), str(value)] for key, (default, value) in changed(run.cfg).items()]
