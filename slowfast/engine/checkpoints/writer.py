"""Writes checkpoints in the background, and removes those that the config does not keep."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from slowfast.engine.checkpoints.files import numbered_checkpoints, write_checkpoint

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """One save at a time. The caller waits for the copy to host memory, not for the disk.

    A disk that refuses is an error in the log: earlier files are whole and training goes on.

    newest: the numbered checkpoint that was written, or resumed from, last.
    """

    def __init__(
        self, output_dir: str, keep_last: int, keep_every: int, newest: Path | None = None
    ) -> None:
        """keep_last: files of finished epochs to keep, 0: all. keep_every: those of every n-th
        epoch are kept beside them; 0: none. Of files inside an epoch, the last two files of all
        are kept."""
        self.newest = newest
        self._output_dir = output_dir
        self._keep_last = keep_last
        self._keep_every = keep_every
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    def write(self, content: Mapping[str, Any], *paths: Path) -> None:
        """Returns when `content` is copied and an earlier save has ended."""
        self.wait()
        copied = _on_host(content)
        self._thread = threading.Thread(target=self._write_all, args=(copied, paths))
        self._thread.start()

    def wait(self) -> None:
        """Until the last save is on the disk. Raises: what was no fault of the disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._fault is not None:
            raise self._fault

    def _write_all(self, content: Mapping[str, Any], paths: tuple[Path, ...]) -> None:
        try:
            for path in paths:
                self._write(content, path)
            self._retain()
        except BaseException as error:
            self._fault = error

    def _write(self, content: Mapping[str, Any], path: Path) -> None:
        try:
            write_checkpoint(path, content)
        except OSError as error:
            logger.error("%s COULD NOT BE WRITTEN, training goes on without it: %s", path, error)
            return
        logger.info("wrote %s", path)
        if path in numbered_checkpoints(self._output_dir).values():
            self.newest = path

    def _retain(self) -> None:
        found = numbered_checkpoints(self._output_dir)
        if self.newest not in found.values():
            # None of them is known to be of this training.
            return
        numbered = {}
        for place, path in found.items():
            numbered[place] = path
            if path == self.newest:
                # Files beyond are another training's.
                break
        latest = list(numbered)[-2:]
        finished = [place for place in numbered if place[1] == 0]
        kept = finished[-self._keep_last :]
        for place, path in numbered.items():
            epochs, iteration = place
            if iteration:
                superseded = place not in latest
            else:
                every = self._keep_every and epochs % self._keep_every == 0
                superseded = place not in kept and not every
            if superseded:
                _remove(path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.error("%s could not be removed: %s", path, error)
    else:
        logger.info("removed %s", path)


def _on_host(value: Any) -> Any:
    """A copy of nested containers whose tensors share no memory with the model's."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return type(value)((key, _on_host(entry)) for key, entry in value.items())  # type: ignore[call-arg]
    if isinstance(value, list):
        return [_on_host(entry) for entry in value]
    return value
