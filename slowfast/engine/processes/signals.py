"""Signals that ask a run to stop, and the agreement of all its processes to stop together."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from slowfast.utils import distributed
from slowfast.utils.stop_signals import (
    SIGNALS,
    exit_status,
    obeyed_signals,
    say,
    stopped_by,
)

# Ctrl-C reaches a process from the terminal and from its parent; a later one means "at once".
_SAME_REQUEST_SEC = 1.0


class Interrupted(Exception):
    """All ranks have agreed to stop because of a signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopRequests:
    """The signals that stop this process; within `deferred` they wait for `check`.

    A context manager, for the main thread of a run's process. Ending means SystemExit with
    `exit_status`. A second SIGINT, a second after the first, does not wait.
    """

    def __init__(self) -> None:
        self._signum = 0
        self._since = 0.0
        self._deferring = False
        self._ending = False
        self._exchange: Callable[[], int] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequests:
        self._before = {s: signal.signal(s, self._handle) for s in obeyed_signals()}
        # The parent process blocked them until here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return self

    def __exit__(self, *exception: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer signals to `check`; one that no check has seen ends all ranks after the block."""
        self._deferring = True
        try:
            yield
            if self._exchange is not None:
                self._exchange()
            agreed = distributed.begin_host_max(self._signum)()
        finally:
            self._deferring = False
            self._exchange = None
        if agreed:
            self._ending = True
            sys.exit(exit_status(agreed))

    def check(self) -> None:
        """Stop if any rank has received a signal; call equally often on every rank in `deferred`.

        The ranks exchange their signals between two calls, so that no rank waits: all stop at the
        second call after a signal, a single process at the first.

        Raises: Interrupted, on all ranks at the same call.
        """
        if distributed.world_size() == 1:
            agreed = self._signum
        else:
            agreed = self._exchange() if self._exchange is not None else 0
            self._exchange = None if agreed else distributed.begin_host_max(self._signum)
        if agreed:
            self._ending = True
            raise Interrupted(agreed)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._ending and signum != signal.SIGINT:
            # A launcher ends the remaining processes of a run when the first one has ended.
            return
        now = time.monotonic()
        impatient = (
            signum == signal.SIGINT
            and self._signum == signal.SIGINT
            and now - self._since > _SAME_REQUEST_SEC
        )
        if not self._deferring or impatient:
            say(stopped_by(signum))
            sys.exit(exit_status(signum))
        if not self._signum:
            self._signum, self._since = signum, now
            say(f"{signal.Signals(signum).name}: stopping after this step")
