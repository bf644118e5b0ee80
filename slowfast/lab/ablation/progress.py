"""What the user sees while runs go on: lines of progress bars on a terminal, else log lines."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slowfast.utils.logging import JSON_PREFIX

logger = logging.getLogger(__name__)

_TAIL_BYTES = 20_000


@dataclass(frozen=True)
class Running:
    """name: of the run. share: of its training that is done, 0 to 1."""

    name: str
    share: float


class Display(Protocol):
    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def show(self, done: int, total: int, running: Sequence[Running], left_sec: float) -> None:
        """The state at this moment; left_sec: expected time to the end, NaN while unknown."""
        ...


class LogDisplay:
    """Only the lines that stay."""

    def say(self, text: str) -> None:
        logger.info("%s", text)

    def show(self, done: int, total: int, running: Sequence[Running], left_sec: float) -> None:
        pass


@contextmanager
def terminal_display() -> Iterator[Display]:
    """A bar of runs with the expected end, and below it a bar for each run that goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn

    console = Console(stderr=True)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(24),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[text]}"),
    ]
    with Progress(*columns, console=console, transient=True) as progress:
        whole = progress.add_task("ablation", total=1.0, text="")
        lines: list[TaskID] = []

        class _Terminal:
            def say(self, text: str) -> None:
                console.print(text, highlight=False, markup=False)

            def show(
                self, done: int, total: int, running: Sequence[Running], left_sec: float
            ) -> None:
                text = f"{done}/{total} runs, {expected_end(left_sec)}"
                share = (done + sum(run.share for run in running)) / max(total, 1)
                progress.update(whole, completed=share, text=text)
                while len(lines) < len(running):
                    lines.append(progress.add_task("", total=1.0, text=""))
                for number, line in enumerate(lines):
                    if visible := number < len(running):
                        run = running[number]
                        progress.update(line, description=f"  {run.name}", completed=run.share)
                    progress.update(line, visible=visible)

        yield _Terminal()


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
        except (ValueError, KeyError):
            continue
        return min((epoch - 1 + step / steps) / epochs, 1.0)
    return 0.0
