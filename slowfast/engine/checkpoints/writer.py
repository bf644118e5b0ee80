"""Writes checkpoints in the background, and removes old ones as configured."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from slowfast.engine.checkpoints.files import (
    is_numbered_checkpoint,
    numbered_checkpoints,
    write_checkpoint,
)
from slowfast.engine.checkpoints.host_copies import HostCopies
from slowfast.engine.checkpoints.owned import OwnedCheckpoints

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Background writer, one save at a time.

    The caller waits for the copy to host memory, not for the disk. The memory of the copies (the
    size of a checkpoint) is kept from the first save on.

    A disk error is logged: earlier files stay intact and training continues.
    Only files that this training run has written are ever removed.

    newest: the numbered checkpoint that was last written or resumed from.
    failed: error of the newest save by the kind of file (`numbered`, or the name of one that is
        replaced, as the best one); a later save of the kind that succeeds removes it.
    """

    def __init__(
        self,
        output_dir: str,
        keep_last: int,
        keep_every: int,
        newest: Path | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """keep_last: number of files of finished epochs to keep, 0: all. keep_every: keep those
        of every n-th epoch in addition, 0: none. A file inside an epoch is kept while it is one
        of the last two files. check: called before a file gets its name; raises where the folder
        is no longer this run's."""
        self.newest = newest
        self.failed: dict[str, str] = {}
        self._output_dir = output_dir
        self._owned = OwnedCheckpoints(output_dir, newest)
        self._keep_last = keep_last
        self._keep_every = keep_every
        self._check = check
        self._on_host = HostCopies()
        self._thread: threading.Thread | None = None
        self._fault: BaseException | None = None

    def write(self, content: Mapping[str, Any], *paths: Path) -> None:
        """Wait for the save in progress, copy `content` and start to save it."""
        self.wait()
        copied = self._on_host(content)
        self._thread = threading.Thread(target=self._write_all, args=(copied, paths))
        self._thread.start()

    def wait(self) -> None:
        """Wait until the last save is on the disk. Raises: its error, unless the disk failed."""
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
        is_numbered = is_numbered_checkpoint(path)
        kind = "numbered" if is_numbered else path.name
        try:
            if is_numbered:
                # Before the file: a crash between the two must not leave one without an owner.
                self._owned.add(path)
            write_checkpoint(path, content, self._check)
        except OSError as error:
            with suppress(OSError):
                self._owned.discard(path)
            logger.error("%s COULD NOT BE WRITTEN, training continues without it: %s", path, error)
            self.failed[kind] = f"{path}: {error.strerror or error}"
            return
        logger.info("wrote %s", path)
        self.failed.pop(kind, None)
        if is_numbered:
            self.newest = path

    def _retain(self) -> None:
        found = {
            place: path
            for place, path in numbered_checkpoints(self._output_dir).items()
            if path in self._owned
        }
        paths = list(found.values())
        if self.newest is None or self.newest not in paths:
            return
        # Later files belong to an earlier start that had got further.
        places = list(found)[: paths.index(self.newest) + 1]
        finished = [place for place in places if place[1] == 0]
        kept = {*finished[-self._keep_last :], *(place for place in places[-2:] if place[1])}
        if self._keep_every:
            kept.update(place for place in finished if place[0] % self._keep_every == 0)
        for place in places:
            if place not in kept:
                self._remove(found[place])

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
            self._owned.discard(path)
        except OSError as error:
            logger.error("%s could not be removed: %s", path, error)
        else:
            logger.info("removed %s", path)
