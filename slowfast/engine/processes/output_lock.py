"""One training per OUTPUT_DIR: a lock file that names its holder and shows that it lives.

The holder writes a running number into the file every few seconds. Whether it still lives is found
out without comparing clocks of two machines: on the holder's machine by its process, elsewhere by
watching whether the number moves. Files are only ever made by `link`, which one of several wins,
and only removed by who holds a claim on exactly this file, so that of two that find the same lock
stale one cannot remove the new lock of the other.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

LOCK_NAME = ".training.lock"
# Seconds between two beats, and without one until a holder on another machine counts as dead.
BEAT_SEC = 5.0
STALE_SEC = 60.0
# What a Linux kernel calls processes that have ended and are not yet forgotten.
_ENDED = ("Z", "X")


@dataclass(frozen=True)
class Holder:
    """Who made a lock file.

    machine: tells process numbers of two machines, boots or containers apart.
    started: of the process, in the machine's own ticks: process numbers are used again.
    since: for people; never compared.
    token: of this file alone.
    """

    host: str
    machine: str
    pid: int
    started: str
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def output_lock(folder: str | Path) -> Iterator[OutputLock]:
    """Hold the lock of an output folder, which is made where it is not there.

    A lock whose holder has ended is taken over: at once on the holder's machine, after STALE_SEC
    without a beat elsewhere. A process that is killed leaves such a lock behind.

    Raises: UserError where another training holds it; OSError where the folder cannot be written.
    """
    lock = OutputLock(Path(folder) / LOCK_NAME)
    lock.take()
    try:
        yield lock
    finally:
        lock.release()


def lock_in(folder: str | Path) -> str:
    """Who made the lock of a folder, which may have ended since; empty: none can be read."""
    try:
        text = _text(Path(folder) / LOCK_NAME)
    except OSError:
        return ""
    return "" if text is None else _named(text)


class OutputLock:
    """The lock file `path`, once taken; `output_lock` is the way to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder = _this_process()
        self._file = -1
        self._beats = 0
        self._lost = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="output-lock", daemon=True)

    def take(self) -> None:
        """Make the file, in place of a stale one too. Raises: UserError, OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not _make(self.path, self.holder):
            text = _text(self.path)
            if text is None:
                continue
            if not _is_stale(self.path, text):
                raise UserError(
                    f"OUTPUT_DIR {self.path.parent} belongs to another training, {_named(text)}; "
                    "wait for its end, stop it, or set another OUTPUT_DIR"
                )
            if _remove(self.path, text):
                logger.warning("%s: taken over from %s, which has ended", self.path, _named(text))
        self._file = os.open(self.path, os.O_WRONLY)
        self._thread.start()

    def release(self) -> None:
        """Remove the file, unless another training has taken it over."""
        if os.getpid() != self.holder.pid:
            return
        self._ended.set()
        self._thread.join(BEAT_SEC)
        if not self._thread.is_alive():
            # Else it hangs in the file system, and may still write to what it has open.
            os.close(self._file)
        text = _text(self.path)
        if text is not None and _token(text) == self.holder.token:
            with suppress(OSError):
                _remove(self.path, text)

    def check(self) -> None:
        """Raises: UserError where another training has taken the lock over in the meantime.

        That happens to a process that was stopped for longer than STALE_SEC and then went on.
        """
        if self._lost:
            raise UserError(
                f"OUTPUT_DIR {self.path.parent} has been taken over by another training, "
                f"{self._lost}, while this one gave no sign of life; resume in another OUTPUT_DIR"
            )

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_SEC):
            try:
                self._beat()
            except OSError as error:
                logger.warning("%s: no beat written (%s)", self.path, error.strerror or error)

    def _beat(self) -> None:
        """Count on in the file, in place: a file that has become another's is not touched."""
        text = _text(self.path)
        if self._ended.is_set():
            return
        if text is None and _make(self.path, self.holder):
            os.close(self._file)
            self._file = os.open(self.path, os.O_WRONLY)
        elif text is not None and _token(text) != self.holder.token:
            self._lost = _named(text)
            self._ended.set()
            logger.error("%s: taken over by %s", self.path, self._lost)
            return
        self._beats += 1
        os.pwrite(self._file, _beat_line(self._beats), len(_first_line(self.holder)))
        os.fsync(self._file)


def _this_process() -> Holder:
    host = socket.gethostname()
    boot = _system_text("/proc/sys/kernel/random/boot_id")
    return Holder(
        host=host,
        machine=f"{host} {boot} {_process_space()}",
        pid=os.getpid(),
        started=_started(os.getpid()) or "",
        since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        token=uuid.uuid4().hex,
    )


def _process_space() -> str:
    """Containers of one machine number their processes each for itself."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _system_text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process of this machine started, "" where that is not told, None if it has ended."""
    try:
        # The name of the program, in brackets, may hold anything; 22 fields in all, from 1.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in _ENDED else fields[18]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _first_line(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode() + b"\n"


def _beat_line(beats: int) -> bytes:
    """Of one length, so that it is overwritten in place."""
    return b"%020d\n" % beats


def _make(path: Path, holder: Holder) -> bool:
    """Make a lock file with its content, or False where there is one."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    content = _first_line(holder) + _beat_line(0)
    try:
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:
            return _make_without_links(path, content)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _make_without_links(path: Path, content: bytes) -> bool:
    """For file systems without hard links: there is a moment in which the file is empty."""
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _text(path: Path) -> str | None:
    """The content of a lock file, None if there is none."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _holder(text: str) -> Holder | None:
    """None for a file that was cut short."""
    try:
        return Holder(**json.loads(text.partition("\n")[0]))
    except (ValueError, TypeError):
        return None


def _named(text: str) -> str:
    return str(_holder(text) or "whose lock file cannot be read")


def _token(text: str) -> str:
    holder = _holder(text)
    return holder.token if holder else "unreadable"


def _is_stale(path: Path, text: str) -> bool:
    """Whether the holder of the lock file `path`, which had the content `text`, has ended."""
    holder, here = _holder(text), _this_process()
    if holder is not None and holder.machine == here.machine:
        return _started(holder.pid) != holder.started
    logger.warning("%s: is %s alive? Watching for %.0f s", path, _named(text), STALE_SEC)
    end = time.monotonic() + STALE_SEC
    while time.monotonic() < end:
        time.sleep(min(1.0, STALE_SEC / 10))
        if _text(path) != text:
            return False
    return True


def _remove(path: Path, text: str) -> bool:
    """Remove a lock file if it still is the one that had the content `text`.

    Who removes it holds a claim, a lock file of its own that is named after the one to remove.
    """
    claim, holder = path.with_name(f"{LOCK_NAME}.{_token(text)}"), _this_process()
    while not _make(claim, holder):
        other = _text(claim)
        if other is None:
            return False
        if not _is_stale(claim, other):
            time.sleep(0.01)
            return False
        _remove(claim, other)
    try:
        if _text(path) != text:
            return False
        path.unlink()
        return True
    finally:
        if _token(_text(claim) or "") == holder.token:
            claim.unlink(missing_ok=True)
