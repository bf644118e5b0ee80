"""How often a piece of work makes the host wait for the device."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_OPERATORS = ("aten::item", "aten::nonzero", "aten::is_nonzero")


class _Reads(TorchFunctionMode):
    """Counts what hands values to Python without an operator that a profiler would see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.tolist, Tensor.numpy, Tensor.cpu):
            self.found[func.__name__] += 1
        return func(*args, **(kwargs or {}))


def count_waits(work: Callable[[], object], device: torch.device) -> dict[str, int]:
    """Kinds of waits of `work` and how often it did them.

    CUDA: what torch itself reports as one (not those of torch.distributed). CPU: operators and
    methods that would be one on CUDA.
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
    operators = {e.key: e.count for e in profile.key_averages() if e.key in _OPERATORS}
    return {**operators, **reads.found}
