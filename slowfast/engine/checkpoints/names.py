"""How the checkpoint files of a run are called."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"checkpoint_epoch_(\d+)(?:_iter_(\d+))?\.pyth")
_FOLDER = "checkpoints"
BEST = "best"


def checkpoint_path(output_dir: str | Path, epochs: int | str, iteration: int = 0) -> Path:
    """The file of a checkpoint below `output_dir`.

    epochs: finished ones (`checkpoint_epoch_00030.pyth`), or a word (`checkpoint_best.pyth`).
    iteration: finished steps of the next epoch (`checkpoint_epoch_00030_iter_0001234.pyth`).
    """
    name = f"epoch_{epochs:05d}" if isinstance(epochs, int) else epochs
    if iteration:
        name += f"_iter_{iteration:07d}"
    return Path(output_dir) / _FOLDER / f"checkpoint_{name}.pyth"


def numbered_checkpoints(output_dir: str | Path) -> dict[tuple[int, int], Path]:
    """The files of a run by (finished epochs, finished steps of the next one), oldest first."""
    numbered = {}
    for path in (Path(output_dir) / _FOLDER).glob("checkpoint_epoch_*.pyth"):
        matched = _NAME.fullmatch(path.name)
        if matched:
            numbered[int(matched[1]), int(matched[2] or 0)] = path
    return dict(sorted(numbered.items()))
