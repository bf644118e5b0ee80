"""Times alternatives alternately, so that other load affects them equally.

Also counts how often a piece of work makes the host wait for the device.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Clock = Callable[[], float]
_WAITING_OPERATORS = ("aten::item", "aten::nonzero", "aten::is_nonzero")


def interleaved(
    parts: Mapping[str, Callable[[], object]], rounds: int, clock: Clock
) -> dict[str, float]:
    """Median milliseconds of each part over `rounds` rounds A B C A B C ..., after a warm-up."""
    return interleaved_by(parts, rounds, [clock])[0]


def interleaved_by(
    parts: Mapping[str, Callable[[], object]], rounds: int, clocks: Sequence[Clock]
) -> list[dict[str, float]]:
    """As `interleaved`, timed by several clocks at once."""
    taken: list[dict[str, list[float]]] = [{name: [] for name in parts} for _ in clocks]
    for _ in range(rounds + 1):
        for name, part in parts.items():
            starts = [clock() for clock in clocks]
            part()
            for seconds, clock, start in zip(taken, clocks, starts, strict=True):
                seconds[name].append(clock() - start)
    return [{name: 1e3 * median(each[1:]) for name, each in part.items()} for part in taken]


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


class _Reads(TorchFunctionMode):
    """Counts calls that return values to Python without an operator visible to a profiler."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.tolist, Tensor.numpy, Tensor.cpu):
            self.found[func.__name__] += 1
        return func(*args, **(kwargs or {}))


def count_waits(work: Callable[[], object], device: torch.device) -> dict[str, int]:
    """Number of host waits in `work`, by kind.

    CUDA: those that torch reports, without torch.distributed. CPU: operators and methods that would
    wait on CUDA.
    """
    return _cuda_waits(work) if device.type == "cuda" else _cpu_waits(work)


def _cuda_waits(work: Callable[[], object]) -> dict[str, int]:
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    # Not the notice that this mode is a prototype.
    count = sum("called a synchronizing" in str(warning.message) for warning in caught)
    return {"synchronisations": count} if count else {}


def _cpu_waits(work: Callable[[], object]) -> dict[str, int]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profile, _Reads() as reads:
        work()
    operators = {e.key: e.count for e in profile.key_averages() if e.key in _WAITING_OPERATORS}
    return {**operators, **reads.found}
