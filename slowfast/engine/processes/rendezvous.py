"""Process rendezvous, with errors that name the ranks that never arrived or left a call.

torch counts the processes that arrived but does not say which, and its `monitored_barrier` names
ranks on rank 0 only, in a group that still works. A key-value store answers both on every rank.
"""

from __future__ import annotations

import datetime
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from slowfast.engine.processes.launch import ProcessInfo
from slowfast.utils.errors import UserError

# Processes that wait for the same one give up within this time of each other.
_GIVING_UP_SEC = 5.0
# The store ends with its host process, which waits this long for the others to read it.
_READING_SEC = 15.0
_POLL_SEC = 0.02
_KEEPER = 0
_ARRIVED = "arrived"


class Absent(Exception):
    """Processes that did not arrive in time."""

    def __init__(self, ranks: Sequence[int]) -> None:
        super().__init__(f"ranks {list(ranks)}")
        self.ranks = ranks


@dataclass(frozen=True)
class Meeting:
    """The processes of one start of a run, and the key-value store that they share."""

    process: ProcessInfo
    store: Store
    timeout_sec: float

    @property
    def timeout(self) -> datetime.timedelta:
        return datetime.timedelta(seconds=self.timeout_sec)

    def missing(self, what: str, wait_sec: float) -> list[int]:
        """Announce `what` and wait until all processes have; returns the ranks that are late."""
        store, ranks = PrefixStore(what, self.store), range(self.process.world_size)
        keys = [str(rank) for rank in ranks]
        try:
            store.set(str(self.process.rank), "")
            store.wait(keys, datetime.timedelta(seconds=wait_sec))
            return []
        except RuntimeError:
            return _without(store, ranks)

    def gave_up(self) -> UserError:
        """The error that names the missing processes after a collective call has timed out."""
        missing = self.missing("gave up", _GIVING_UP_SEC)
        self._let_others_read(missing)
        who = _processes(missing, self.process) if missing else "some processes have"
        return UserError(
            f"{who} not joined a collective call for {self.timeout_sec} s (DISTRIBUTED.TIMEOUT): "
            "it hangs, has stopped, or is busy; check it, or raise the timeout"
        )

    def _let_others_read(self, missing: Sequence[int]) -> None:
        """Announce that this process has read the store; its host waits for the others."""
        store, process = PrefixStore("read", self.store), self.process
        others = [str(rank) for rank in range(process.world_size) if rank not in missing]
        # Without an answer, there may be no process left to notify.
        with suppress(RuntimeError):
            store.set(str(process.rank), "")
            if process.rank == _KEEPER:
                store.wait(others, datetime.timedelta(seconds=_READING_SEC))


def meet(process: ProcessInfo, timeout_sec: float) -> Meeting:
    """Reach the store and wait there for all processes of the run.

    Raises: UserError if the store cannot be reached or processes do not arrive.
    """
    store = _reachable_store(process, timeout_sec)
    try:
        store = store_of_this_start(store, process.rank, process.world_size, timeout_sec)
        meeting = Meeting(process, store, timeout_sec)
        missing: Sequence[int] = meeting.missing(_ARRIVED, timeout_sec)
    except Absent as absent:
        missing = absent.ranks
    if missing:
        raise UserError(
            f"{_processes(missing, process)} not arrived at {address(process)} within "
            f"{timeout_sec} s (DISTRIBUTED.TIMEOUT); check that they were started and did not fail"
        )
    return meeting


def store_of_this_start(store: Store, rank: int, world_size: int, timeout_sec: float) -> Store:
    """The part of a store that only the processes of one start of a run see.

    torchrun keeps its store when it restarts the processes, with the addresses of the dead ones,
    and gives them no number of the start that is the same on all machines. So process 0 chooses a
    name for the start, and sends it to every process that asks with its token.

    Raises: Absent, naming on process 0 all that are missing, elsewhere process 0.
    """
    try:
        if rank:
            return _ask_for_start(store, rank, timeout_sec)
        return _name_start(store, world_size, timeout_sec)
    except RuntimeError as error:
        # The store is gone, or gave no answer.
        raise Absent([_KEEPER]) from error


def _ask_for_start(store: Store, rank: int, timeout_sec: float) -> Store:
    token = uuid.uuid4().hex
    store.set(f"question_of_{rank}", token)
    store.wait([f"answer_to_{token}"], datetime.timedelta(seconds=timeout_sec))
    start = PrefixStore(store.get(f"answer_to_{token}").decode(), store)
    PrefixStore(_ARRIVED, start).set(str(rank), "")
    return start


def _name_start(store: Store, world_size: int, timeout_sec: float) -> Store:
    """Answer the latest request of each process, even dead ones, until all live ones arrive."""
    name = f"start_{uuid.uuid4().hex}"
    start, waited_for = PrefixStore(name, store), range(1, world_size)
    deadline = time.monotonic() + timeout_sec
    while missing := _without(PrefixStore(_ARRIVED, start), waited_for):
        if time.monotonic() > deadline:
            raise Absent(missing)
        for question in (f"question_of_{rank}" for rank in missing):
            if store.check([question]):
                store.set(f"answer_to_{store.get(question).decode()}", name)
        time.sleep(_POLL_SEC)
    return start


def _without(store: Store, ranks: Iterable[int]) -> list[int]:
    """The ranks that have no key in the store; if the store is gone, the rank of its host."""
    try:
        return [rank for rank in ranks if not store.check([str(rank)])]
    except RuntimeError:
        return [_KEEPER]


def cannot_meet(process: ProcessInfo, reason: str) -> str:
    return (
        f"the processes of this run cannot meet at {address(process)}: {reason}; "
        "set another --master_port or --init_method"
    )


def address(process: ProcessInfo) -> str:
    if process.init_method:
        return process.init_method
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def _reachable_store(process: ProcessInfo, timeout_sec: float) -> Store:
    """The store of the run, once it can be reached. Raises: UserError."""
    started = time.monotonic()
    try:
        return _store(process, datetime.timedelta(seconds=timeout_sec))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if process.rank > 0 and time.monotonic() - started >= timeout_sec:
            reason = f"process 0 has not opened it within {timeout_sec} s (DISTRIBUTED.TIMEOUT)"
        raise UserError(cannot_meet(process, reason)) from error


def _store(process: ProcessInfo, timeout: datetime.timedelta) -> Store:
    """The launcher's store if it has one, else a store hosted by process 0."""
    launcher_keeps_it = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == str(True)
    where = urlsplit(process.init_method or f"tcp://{address(process)}")
    if where.scheme != "tcp" or (process.launched and launcher_keeps_it) or not _has_port(process):
        init_method = process.init_method or "env://"
        handler = rendezvous(init_method, process.rank, process.world_size, timeout=timeout)
        store: Store = next(handler)[0]
        return store
    return TCPStore(
        host_name=where.hostname or "localhost",
        port=where.port or 0,
        is_master=process.rank == 0,
        timeout=timeout,
        # torch's rendezvous waits for all processes at once, and cannot name the missing ones.
        wait_for_workers=False,
        multi_tenant=True,
    )


def _has_port(process: ProcessInfo) -> bool:
    return bool(process.init_method) or {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()


def _processes(ranks: Sequence[int], process: ProcessInfo) -> str:
    """`process 3 of 4 has`, `processes 1, 3 of 4 have`."""
    word, verb = ("process", "has") if len(ranks) == 1 else ("processes", "have")
    return f"{word} {', '.join(map(str, ranks))} of {process.world_size} {verb}"
