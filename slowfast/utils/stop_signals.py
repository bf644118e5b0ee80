"""Signals that stop a command, and the exit status that each of them gives.

A run's processes handle them by `engine.processes.signals` once they are set up. Before that, and
in every other command, the handlers here end the command in one line.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def exit_status(signum: int) -> int:
    """130 for SIGINT, else 143: SIGHUP and SIGUSR1 ask for an end as SIGTERM does."""
    return 130 if signum == signal.SIGINT else 143


def obeyed_signals() -> list[signal.Signals]:
    """The signals to handle: all, except SIGHUP if `nohup` has started this process."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [s for s in SIGNALS if not (ignored and s == signal.SIGHUP)]


def end_on_signals() -> None:
    """End this process at once on a signal; for a command to call before its slow imports.

    No exception is raised, because a library may catch it while it is being imported.
    """
    for signum in obeyed_signals():
        signal.signal(signum, _end)


@contextmanager
def raising_on_signals() -> Iterator[None]:
    """Context manager in which a signal raises `Stopped`, or ends the process during an import."""
    before = {signum: signal.signal(signum, _raise) for signum in obeyed_signals()}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def say(text: str) -> None:
    """Write a line to descriptor 2: the signal may have interrupted a write of sys.stderr."""
    # The terminal may be gone, which is what SIGHUP announces.
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def stopped_by(signum: int) -> str:
    """The line that reports the end of a command by a signal."""
    return f"stopped by {signal.Signals(signum).name}"


def _end(signum: int, frame: FrameType | None) -> None:
    say(stopped_by(signum))
    os._exit(exit_status(signum))


def _raise(signum: int, frame: FrameType | None) -> None:
    if _importing(frame):
        _end(signum, frame)
    raise Stopped(signum)


def _importing(frame: FrameType | None) -> bool:
    """Whether the program is in the middle of an import."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
