"""Times alternatives in turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import cv2
import torch

Clock = Callable[[], float]


def interleaved(
    parts: Mapping[str, Callable[[], object]], rounds: int, clock: Clock
) -> dict[str, float]:
    """Seconds of each part: A B C A B C ..., the first round dropped, the median of `rounds`."""
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds + 1):
        for name, part in parts.items():
            start = clock()
            part()
            taken[name].append(clock() - start)
    return {name: median(seconds[1:]) for name, seconds in taken.items()}


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
