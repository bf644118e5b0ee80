"""How the processes of a run meet, and which of them are waited for in vain."""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.restarts import Absent, store_of_this_start
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Processes that wait for the same one give up within this time of each other.
_GIVING_UP_SEC = 5.0
# The store ends with the process that keeps it, which waits so long for the others to have read it.
_READING_SEC = 15.0
_KEEPER = 0


@dataclass
class Meeting:
    """The key-value store that all processes of a run reach."""

    process: ProcessInfo
    store: Store
    timeout_sec: float

    @property
    def timeout(self) -> datetime.timedelta:
        return datetime.timedelta(seconds=self.timeout_sec)

    def await_all(self) -> None:
        """Wait until every process is here. Raises: UserError naming those that are not in time."""
        process = self.process
        try:
            self.store = store_of_this_start(
                self.store, process.rank, process.world_size, self.timeout_sec
            )
            missing: Sequence[int] = self._missing("arrived", self.timeout_sec)
        except Absent as absent:
            missing = absent.ranks
        except RuntimeError:
            # The store is gone.
            missing = [_KEEPER]
        if missing:
            raise UserError(
                f"{_processes(missing, process)} not arrived at {address(process)} within "
                f"{self.timeout_sec} s (DISTRIBUTED.TIMEOUT); see how they ended, or whether they "
                "were started"
            )

    def gave_up(self) -> UserError:
        """Called where a collective call has timed out: the error that names who is missing."""
        missing = self._missing("gave up", _GIVING_UP_SEC)
        self._let_others_read(missing)
        who = _processes(missing, self.process) if missing else "some processes have"
        return UserError(
            f"{who} not joined a collective call for {self.timeout_sec} s (DISTRIBUTED.TIMEOUT): "
            "hanging, stopped, or busy with something longer; look there, or raise the timeout"
        )

    def _let_others_read(self, missing: Sequence[int]) -> None:
        """Say that this process knows who is missing; the store's keeper waits for the others."""
        store, process = PrefixStore("read", self.store), self.process
        others = [str(rank) for rank in range(process.world_size) if rank not in missing]
        try:
            store.set(str(process.rank), "")
            if process.rank == _KEEPER:
                store.wait(others, datetime.timedelta(seconds=_READING_SEC))
        except RuntimeError:
            logger.debug("not all have read who is missing")

    def _missing(self, what: str, wait_sec: float) -> list[int]:
        """Ranks that have not said `what` within `wait_sec` of this process saying it."""
        store, ranks = PrefixStore(what, self.store), range(self.process.world_size)
        keys = [str(rank) for rank in ranks]
        try:
            store.set(str(self.process.rank), "")
            store.wait(keys, datetime.timedelta(seconds=wait_sec))
        except RuntimeError:
            return _without(store, keys)
        return []


def meet(process: ProcessInfo, timeout_sec: float) -> Meeting:
    """Reach the store and wait there for all processes of the run.

    Raises: UserError where the store cannot be reached and for processes that do not come.
    """
    started = time.monotonic()
    timeout = datetime.timedelta(seconds=timeout_sec)
    try:
        meeting = Meeting(process, _store(process, timeout), timeout_sec)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if process.rank > 0 and time.monotonic() - started >= timeout_sec:
            reason = f"process 0 has not opened it within {timeout_sec} s (DISTRIBUTED.TIMEOUT)"
        raise UserError(cannot_meet(process, reason)) from error
    meeting.await_all()
    return meeting


def cannot_meet(process: ProcessInfo, reason: str) -> str:
    return (
        f"the processes of this run cannot meet at {address(process)}: {reason}; "
        "set another --master_port or --init_method"
    )


def address(process: ProcessInfo) -> str:
    if process.init_method:
        return process.init_method
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def _store(process: ProcessInfo, timeout: datetime.timedelta) -> Store:
    """Of the launcher where it has one, else of process 0.

    torch's own rendezvous waits for all processes at once and cannot tell who is missing.
    """
    where = urlsplit(process.init_method or f"tcp://{address(process)}")
    of_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    if where.scheme != "tcp" or (process.launched and of_launcher) or not _has_port(process):
        init_method = process.init_method or "env://"
        store: Store
        store, _, _ = next(
            rendezvous(init_method, process.rank, process.world_size, timeout=timeout)
        )
        return store
    return TCPStore(
        host_name=where.hostname or "localhost",
        port=where.port or 0,
        is_master=process.rank == 0,
        timeout=timeout,
        wait_for_workers=False,
        multi_tenant=True,
    )


def _has_port(process: ProcessInfo) -> bool:
    return bool(process.init_method) or {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def _without(store: Store, keys: Sequence[str]) -> list[int]:
    """Positions of the keys that the store lacks; where it is gone, its keeper."""
    try:
        return [position for position, key in enumerate(keys) if not store.check([key])]
    except RuntimeError:
        return [_KEEPER]


def _processes(ranks: Iterable[int], process: ProcessInfo) -> str:
    """`process 3 of 4 has`, `processes 1, 3 of 4 have`."""
    listed = list(ranks)
    word = "process" if len(listed) == 1 else "processes"
    verb = "has" if len(listed) == 1 else "have"
    return f"{word} {', '.join(map(str, listed))} of {process.world_size} {verb}"
