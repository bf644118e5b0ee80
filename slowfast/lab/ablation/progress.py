"""Progress of an ablation: the trained share of a run, and the expected end of all runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from slowfast.utils.logging import JSON_PREFIX

_TAIL_BYTES = 20_000


def expected_end(left_sec: float) -> str:
    """`2:05 h to go, until about 17:30`."""
    if left_sec != left_sec:
        return "end not known yet"
    minutes = round(left_sec / 60)
    clock = time.strftime("%H:%M", time.localtime(time.time() + left_sec))
    return f"{minutes // 60}:{minutes % 60:02d} h to go, until about {clock}"


def time_left(
    waiting: Sequence[str],
    running: Sequence[tuple[str, float]],
    finished: Mapping[str, Sequence[float]],
    jobs: int,
) -> float:
    """Seconds to the end of all runs, NaN before the first one has finished.

    waiting: the arm of each run that has not begun. running: (arm, seconds so far). finished:
    the seconds of the finished runs by arm; an arm without any counts as the mean of the others.
    """
    means = {arm: sum(times) / len(times) for arm, times in finished.items() if times}
    if not means:
        return float("nan")
    usual = sum(means.values()) / len(means)
    rest = [max(means.get(arm, usual) - spent, 0.0) for arm, spent in running]
    work = sum(means.get(arm, usual) for arm in waiting) + sum(rest)
    return max(work / jobs, *rest, 0.0) if rest else work / jobs


def trained_share(log: Path, epochs: int) -> float:
    """Epochs that a run's log says are done, as a share of all."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _TAIL_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return 0.0
    for line in reversed(lines):
        _, found, text = line.partition(JSON_PREFIX)
        if not found:
            continue
        try:
            stats = json.loads(text)
            epoch = int(str(stats["epoch"]).split("/")[0])
            step, steps = (int(part) for part in str(stats.get("iter", "1/1")).split("/"))
        except Exception:  # a line of a log that another process is writing
            continue
        return min((epoch - 1 + step / steps) / epochs, 1.0)
    return 0.0
