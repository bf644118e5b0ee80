"""TensorBoard scalars of rank 0, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast.utils import distributed


class ScalarWriter:
    """Writes `OUTPUT_DIR/tensorboard` where TENSORBOARD.ENABLE asks for it.

    steps_done: optimizer steps before a training that starts or resumes; scalars of later steps,
        which a training that ended without a word has left, are then marked as void.
    """

    def __init__(self, cfg: CfgNode, steps_done: int | None = None) -> None:
        self._writer: Any = None
        if cfg.TENSORBOARD.ENABLE and distributed.is_main():
            from torch.utils.tensorboard import SummaryWriter

            purged = None if steps_done is None else steps_done + 1
            folder = str(Path(cfg.OUTPUT_DIR) / "tensorboard")
            self._writer = SummaryWriter(folder, purge_step=purged)

    def add(self, prefix: str, values: Mapping[str, object], step: int) -> None:
        """Every number among `values` as `prefix/name`."""
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(f"{prefix}/{name}", value, step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
