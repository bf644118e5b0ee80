"""A part of the launcher's store that only the processes of one start of a run see.

torchrun keeps its store when it starts the processes anew, and does not tell them consistently
how often it has: what an earlier start wrote (addresses, above all) would be read by the next.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from torch.distributed.distributed_c10d import PrefixStore, Store

_POLL_SEC = 0.02


class Absent(Exception):
    """Processes that have not come in time; `ranks` are theirs."""

    def __init__(self, ranks: Sequence[int]) -> None:
        super().__init__(f"ranks {list(ranks)}")
        self.ranks = ranks


def store_of_this_start(store: Store, rank: int, world_size: int, timeout_sec: float) -> Store:
    """Called by all processes of a start at about the same time, when those of earlier ones are
    dead. Process 0 numbers the start and tells its number to whoever asks with a new token.

    Raises: Absent, on process 0 naming all that are missing, on others process 0.
    """
    deadline = time.monotonic() + timeout_sec
    if rank:
        start = _ask(store, rank, deadline)
    else:
        start = store.add("starts", 1)
        _answer(store, start, world_size, deadline)
    return PrefixStore(f"start_{start}", store)


def _ask(store: Store, rank: int, deadline: float) -> int:
    token = uuid.uuid4().hex
    store.set(f"question_{store.add('questions', 1)}", token)
    while not store.check([f"answer_{token}"]):
        if time.monotonic() > deadline:
            raise Absent([0])
        time.sleep(_POLL_SEC)
    start = int(store.get(f"answer_{token}"))
    store.set(f"here_{start}_{rank}", "")
    store.add(f"here_{start}", 1)
    return start


def _answer(store: Store, start: int, world_size: int, deadline: float) -> None:
    """Answer all questions, those of dead processes too, until all living ones have read theirs."""
    answered = 0
    while store.add(f"here_{start}", 0) < world_size - 1:
        # A question is numbered before it is written.
        while store.check([f"question_{answered + 1}"]):
            answered += 1
            token = store.get(f"question_{answered}").decode()
            store.set(f"answer_{token}", str(start))
        if time.monotonic() > deadline:
            ranks = range(1, world_size)
            raise Absent([rank for rank in ranks if not store.check([f"here_{start}_{rank}"])])
        time.sleep(_POLL_SEC)
