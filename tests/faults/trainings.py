"""Short training runs on the sample that are interrupted, and comparisons of their results."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.config import load_config
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.run import run
from slowfast.engine.step.update import Update
from slowfast.utils.logging import JSON_PREFIX
from tests.commands import SHORT_RUN, SUML_TINY
from tests.devices import on_cuda

EPOCHS, STEPS = 2, 4
TRAINING = (
    *SHORT_RUN,
    *("SOLVER.MAX_EPOCH", str(EPOCHS), "TEST.ENABLE", "False", "TENSORBOARD.ENABLE", "False"),
    # Three steps between two log lines: stops fall inside a window.
    *("LOG_PERIOD", "3", "DATA_LOADER.NUM_WORKERS", "0"),
)
LAST = Path("checkpoints") / f"checkpoint_epoch_{EPOCHS:05d}.pyth"
# Relative; a few steps of rounding, which the optimizer's normalisation of gradients amplifies.
CLOSE = 0.05
_OF_THE_CLOCK = {"sec_per_step", "data_wait", "eta_sec", "memory_gib", "sec"}


def training_cfg(output: str, *overrides: object) -> CfgNode:
    """A training run in OUTPUT_DIR `output` below the working directory, which holds the sample."""
    return load_config(SUML_TINY, [*TRAINING, "OUTPUT_DIR", output, *map(str, overrides)])


def run_here(cfg: CfgNode) -> int:
    """Run training in this process; returns its exit status."""
    torch.set_num_threads(1)
    try:
        run(cfg, ProcessInfo(0, 0, 1, None, torch.device("cpu")))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def signal_in_step(monkeypatch: Any, epoch: int, iteration: int, signum: signal.Signals) -> None:
    """Send this process a signal in the middle of one step."""
    call = Update.__call__

    def signalled(self: Update, batch: Any, at_epoch: int, at_iteration: int) -> Any:
        if (at_epoch, at_iteration) == (epoch, iteration):
            os.kill(os.getpid(), signum)
        return call(self, batch, at_epoch, at_iteration)

    monkeypatch.setattr(Update, "__call__", signalled)


def assert_same_training(output: Path, whole: Path, *, logged: bool = True) -> None:
    """Weights, optimizer state and everything else in the last checkpoint, and the log values.

    Bit for bit on a CPU; on CUDA, where some kernels add in any order, within `CLOSE`.
    logged: False if the two have different log periods.
    """
    one, other = (torch.load(folder / LAST, weights_only=True) for folder in (output, whole))
    assert _without_cfg(one).keys() == _without_cfg(other).keys()
    found = differences(_without_cfg(one), _without_cfg(other))
    assert not found, found[:10]
    if logged:
        found = differences(logged_numbers(output), logged_numbers(whole))
        assert not found, found[:10]


def logged_numbers(output: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Every number of the log except times, by its place; a repeated line must be the same."""
    numbers: dict[tuple[str, str, str], dict[str, Any]] = {}
    for line in (output / "log.txt").read_text().splitlines():
        if JSON_PREFIX not in line:
            continue
        stats = json.loads(line.split(JSON_PREFIX)[1])
        place = (stats["_type"], stats["epoch"], stats.get("iter", ""))
        kept = {name: value for name, value in stats.items() if name not in _OF_THE_CLOCK}
        assert numbers.setdefault(place, kept) == kept
    return numbers


def differences(one: Any, other: Any, name: str = "") -> list[str]:
    """Names of the entries of nested containers that are not the same."""
    if isinstance(one, (Tensor, float)) and on_cuda():
        one, other = (torch.as_tensor(x, dtype=torch.float64) for x in (one, other))
        return [] if (one - other).norm() <= CLOSE * other.norm() else [name]
    if isinstance(one, Tensor):
        return [] if torch.equal(one, other) else [name]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [name]
        return [d for key in one for d in differences(one[key], other[key], f"{name}.{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [name]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{name}[{i}]")]
    return [] if one == other else [name]


def _without_cfg(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != "cfg"}
