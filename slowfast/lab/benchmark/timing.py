"""Times alternatives in turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import cv2
import torch

Clock = Callable[[], float]


def interleaved(
    parts: Mapping[str, Callable[[], object]], rounds: int, clock: Clock
) -> dict[str, float]:
    """Seconds of each part: A B C A B C ..., the first round dropped, the median of `rounds`."""
    return interleaved_by(parts, rounds, [clock])[0]


def interleaved_by(
    parts: Mapping[str, Callable[[], object]], rounds: int, clocks: Sequence[Clock]
) -> list[dict[str, float]]:
    """As `interleaved`, by several clocks at once."""
    taken: list[dict[str, list[float]]] = [{name: [] for name in parts} for _ in clocks]
    for _ in range(rounds + 1):
        for name, part in parts.items():
            starts = [clock() for clock in clocks]
            part()
            for seconds, clock, start in zip(taken, clocks, starts, strict=True):
                seconds[name].append(clock() - start)
    return [{name: median(each[1:]) for name, each in seconds.items()} for seconds in taken]


def family_time() -> float:
    """Processor time of this process and its living children, in seconds. Linux only."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    return sum(time.clock_gettime(_process_clock(pid)) for pid in pids if pid is not None)


def _process_clock(pid: int) -> int:
    """The id that clock_getcpuclockid(3) gives for a process."""
    return ~pid << 3 | 2


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread on one processor core, where the system can pin it."""
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)


def core_count() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
