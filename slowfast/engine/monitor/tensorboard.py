"""TensorBoard scalars, pictures and hyperparameters of rank 0, or nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.utils import distributed

logger = logging.getLogger(__name__)


class ScalarWriter:
    """Writes `OUTPUT_DIR/tensorboard` if TENSORBOARD.ENABLE is set.

    If the folder cannot be written, the scalars are lost with one warning and the run continues.

    steps_done: optimizer steps done when the run starts or resumes; scalars of later steps, left
        by a run that was killed, are then marked as void.
    """

    def __init__(self, cfg: CfgNode, steps_done: int | None = None) -> None:
        self._writer: Any = None
        if cfg.TENSORBOARD.ENABLE and distributed.is_main():
            from torch.utils.tensorboard import SummaryWriter

            purged = None if steps_done is None else steps_done + 1
            folder = str(Path(cfg.OUTPUT_DIR) / "tensorboard")
            with self._without_disk_faults():
                self._writer = SummaryWriter(folder, purge_step=purged)

    def add(self, prefix: str, values: Mapping[str, object], step: int) -> None:
        """Every number among `values` as `prefix/name`."""
        if self._writer is None:
            return
        with self._without_disk_faults():
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._writer.add_scalar(f"{prefix}/{name}", value, step)
            self._writer.flush()

    def add_picture(self, tag: str, picture: NDArray[np.uint8], step: int) -> None:
        """picture: (H, W, 3) RGB."""
        if self._writer is not None:
            with self._without_disk_faults():
                self._writer.add_image(tag, picture, step, dataformats="HWC")

    def add_histogram(self, tag: str, values: NDArray, step: int) -> None:
        if self._writer is not None:
            with self._without_disk_faults():
                self._writer.add_histogram(tag, values, step)

    def add_hparams(self, values: Mapping[str, object], metrics: Iterable[str]) -> None:
        """Hyperparameters of the run. metrics: tags of scalars, whose last values go with them."""
        if self._writer is None:
            return
        from torch.utils.tensorboard.summary import hparams

        plain = {
            key: value if isinstance(value, (bool, int, float, str)) else str(value)
            for key, value in values.items()
        }
        # Not `SummaryWriter.add_hparams`, which starts another run and repeats the metrics there.
        experiment, session, _ = hparams(plain, dict.fromkeys(metrics, 0.0))
        with self._without_disk_faults():
            for summary in (experiment, session):
                self._writer.file_writer.add_summary(summary)
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            with self._without_disk_faults():
                self._writer.close()

    @contextmanager
    def _without_disk_faults(self) -> Iterator[None]:
        """Context manager that stops writing after a disk error, with one warning."""
        # TensorBoard's thread hands its error to the next call here, but Python prints it too.
        before, threading.excepthook = threading.excepthook, _print_unless_of_disk
        try:
            yield
        except OSError as error:
            self._writer = None
            logger.warning(
                "TensorBoard's file cannot be written (%s); no more scalars are written, and the "
                "run continues",
                error.strerror,
            )
        finally:
            threading.excepthook = before


def _print_unless_of_disk(args: threading.ExceptHookArgs) -> None:
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)
