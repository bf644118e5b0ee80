"""The part of a launcher's store that belongs to one start, with threads as processes."""

import threading
import time

import pytest
from torch.distributed import HashStore

from slowfast.engine.processes.rendezvous import Absent, store_of_this_start


def start(store, ranks, world_size, timeout_sec=20.0):
    """The result of each rank of one start: its store, or the ranks it missed."""
    results = {}

    def enter(rank):
        try:
            results[rank] = store_of_this_start(store, rank, world_size, timeout_sec)
        except Absent as absent:
            results[rank] = list(absent.ranks)

    threads = [threading.Thread(target=enter, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_what_one_start_writes_another_does_not_see():
    store = HashStore()
    first = start(store, [2, 0, 1], 3)
    first[1].set("address", "old")
    assert first[2].get("address") == b"old"
    second = start(store, [1, 2, 0], 3)
    assert not second[0].check(["address"])
    second[2].set("address", "new")
    assert second[0].get("address") == b"new"


def test_a_process_that_died_while_asking_does_not_matter():
    store = HashStore()
    assert start(store, [1], 3, timeout_sec=0.2) == {1: [0]}
    third = start(store, [0, 1, 2], 3)
    third[0].set("a", "b")
    assert third[1].get("a") == third[2].get("a") == b"b"


@pytest.mark.parametrize(("there", "missing"), [([0, 2], {0: [1, 3]}), ([1, 2], {1: [0], 2: [0]})])
def test_who_is_missing(there, missing):
    begun = time.monotonic()
    results = start(HashStore(), there, 4, timeout_sec=0.5)
    assert time.monotonic() - begun < 10
    assert {rank: results[rank] for rank in missing} == missing
