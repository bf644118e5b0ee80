"""Lock of an output folder: a file that names its holder and shows that the holder is alive.

The holder increases a count in the file every few seconds. A holder on this machine is alive while
its process runs, one on another machine while the count changes, so no two clocks are compared.
Files are created exclusively and need no other feature of the file system: many network file
systems keep kernel locks to one machine and lack links or exchanging renames.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from slowfast.engine.processes.lock_holder import Holder, decode, this_process
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

LOCK_NAME = ".training.lock"
TEST_LOCK_NAME = ".test.lock"
# Between two beats, and without one until a holder on another machine counts as dead.
BEAT_SEC = 5.0
STALE_SEC = 60.0
# If a lock is taken and released this often, it is not an ordinary race.
_ATTEMPTS = 1000
_MOST_BYTES = 4096


class InUse(UserError):
    """Another run holds the lock."""


@contextmanager
def output_lock(folder: str | Path, name: str = LOCK_NAME) -> Iterator[OutputLock]:
    """Hold a lock of an output folder, which is created if it does not exist.

    name: LOCK_NAME for training, TEST_LOCK_NAME for a test; the two do not exclude each other.

    A process that is killed leaves its lock. It is taken over at once on the same
    machine, elsewhere after STALE_SEC without a beat.

    Raises: InUse if another run holds the lock; UserError if it is not a regular file; OSError if
    the folder cannot be written.
    """
    lock = OutputLock(Path(folder) / name)
    lock.take()
    try:
        yield lock
    finally:
        lock.release()


def lock_in(folder: str | Path) -> str:
    """Description of the holder of a folder's lock, dead or alive; empty if no lock can be read.

    Raises: UserError if the lock is not a regular file.
    """
    try:
        text = _read(Path(folder) / LOCK_NAME)
    except OSError:
        return ""
    return "" if text is None else _described(text)


def training_in(folder: str | Path) -> str:
    """Description of the training run that is active in a folder; empty if none is.

    A run on another machine is assumed to be alive, since finding out would take a wait.
    Raises: as `lock_in`.
    """
    try:
        text = _read(Path(folder) / LOCK_NAME)
    except OSError:
        return ""
    holder = None if text is None else decode(text)
    if holder is None or (holder.is_on_this_machine() and not holder.is_running()):
        return ""
    return str(holder)


class OutputLock:
    """The lock file `path` once it is taken; use it through `output_lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder = this_process()
        self._file: FileIO | None = None
        self._beats = 0
        self._lost = ""
        self._work = "test" if path.name == TEST_LOCK_NAME else "training run"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name="output-lock", daemon=True)

    def take(self) -> None:
        """Create the file, replacing a stale one if necessary. Raises: UserError, OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            self._file = _create(self.path, self.holder)
            if self._file is not None:
                self._thread.start()
                return
            text = _read(self.path)
            if text is None:
                continue
            if not _is_stale(self.path, text):
                raise InUse(
                    f"OUTPUT_DIR {self.path.parent} belongs to another {self._work}, "
                    f"{_described(_read(self.path) or text)}; wait for its end, stop it, or set "
                    "another OUTPUT_DIR"
                )
            if _remove(self.path, text):
                logger.warning("%s: taken over from %s, which ended", self.path, _described(text))
        raise UserError(
            f"the lock {self.path} could not be taken in {_ATTEMPTS} attempts; stop the other "
            f"{self._work}s in this folder, or set another OUTPUT_DIR"
        )

    def release(self) -> None:
        """Remove the file, unless another training run has taken the lock over."""
        if os.getpid() != self.holder.pid or self._file is None:
            return
        self._ended.set()
        self._thread.join(BEAT_SEC)
        if not self._thread.is_alive():
            # Otherwise the thread hangs in the file system and may still write.
            self._file.close()
        with suppress(OSError, UserError):
            text = _read(self.path)
            if text is not None and _token(text) == self.holder.token:
                try:
                    _remove(self.path, text)
                except OSError:
                    # A full disk has no room for the claim.
                    self.path.unlink()

    def check(self) -> None:
        """Raise UserError if another training run has taken the lock over.

        That happens to a process that was suspended for longer than STALE_SEC.
        """
        if self._lost:
            raise UserError(
                f"OUTPUT_DIR {self.path.parent} has been taken over by another {self._work}, "
                f"{self._lost}, while this one was suspended or could not write its lock; resume "
                "in another OUTPUT_DIR"
            )

    def _keep_beating(self) -> None:
        while not self._lost and not self._ended.wait(BEAT_SEC):
            try:
                self._beat()
            except FileNotFoundError:
                # The folder was removed. The run reports it, and the next beat after it has
                # written the folder again restores the lock.
                continue
            except (OSError, UserError) as error:
                logger.warning("%s: no beat written (%s)", self.path, error)

    def _beat(self) -> None:
        """Increase the count in the open file, so that a file that replaced it is not changed."""
        text = _read(self.path)
        if self._ended.is_set() or self._file is None:
            return
        if text is None:
            # The lock file was deleted.
            self._file = _create(self.path, self.holder) or self._file
        elif _token(text) != self.holder.token:
            self._lost = _described(text)
            logger.error("%s: taken over by %s", self.path, self._lost)
            return
        self._beats += 1
        self._file.seek(0)
        self._file.write(_content(self.holder, self._beats))
        os.fsync(self._file.fileno())


def _content(holder: Holder, beats: int) -> bytes:
    """The holder and the count; the length never changes."""
    return holder.encode() + b"%020d\n" % beats


def _create(path: Path, holder: Holder) -> FileIO | None:
    """Create and open a lock file; None if the path exists."""
    try:
        file = FileIO(path, "x")
    except FileExistsError:
        return None
    try:
        file.write(_content(holder, 0))
    except OSError:
        file.close()
        path.unlink(missing_ok=True)
        raise
    return file


def _read(path: Path) -> str | None:
    """Content of a lock file, None if it does not exist.

    Raises: UserError if it is not a regular file.
    """
    try:
        # Opening a pipe would block, and a device may have no end.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UserError(f"{path} is not a regular file but a link, pipe or device; remove it")
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None


def _described(text: str) -> str:
    return str(decode(text) or "a process that its lock file does not name")


def _token(text: str) -> str:
    holder = decode(text)
    return holder.token if holder else "unreadable"


def _is_stale(path: Path, text: str) -> bool:
    """Whether the holder of the lock file `path`, which had the content `text`, has ended."""
    holder = decode(text)
    if holder is not None and holder.is_on_this_machine():
        return not holder.is_running()
    logger.warning("%s: is %s alive? Watching for %.0f s", path, _described(text), STALE_SEC)
    end = time.monotonic() + STALE_SEC
    while time.monotonic() < end:
        time.sleep(min(1.0, STALE_SEC / 10))
        if _read(path) != text:
            return False
    return True


def _remove(path: Path, text: str) -> bool:
    """Remove a lock file if its content is still `text`; False if it is not, or not yet possible.

    Needs a claim, which is a lock file named after the one to remove: of two processes that find a
    lock stale, the slower one must not remove the new lock of the other.
    """
    claim, holder = path.with_name(f"{path.name}.{_token(text)}"), this_process()
    file = _create(claim, holder)
    if file is None:
        other = _read(claim)
        if other is not None and _is_stale(claim, other):
            _remove(claim, other)
        else:
            time.sleep(0.01)
        return False
    file.close()
    try:
        if _read(path) != text:
            return False
        path.unlink()
        return True
    finally:
        if _token(_read(claim) or "") == holder.token:
            claim.unlink(missing_ok=True)
