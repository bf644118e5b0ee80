"""The progress line on a terminal; nothing where the output is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from slowfast.utils import distributed


class ProgressLine(Protocol):
    def advance(self, steps: int = 1, text: str = "") -> None:
        """More steps done; `text` stands at the end of the line until the next one."""
        ...


class _Silent:
    def advance(self, steps: int = 1, text: str = "") -> None:
        pass


@contextmanager
def progress_line(title: str, total: int, unit: str) -> Iterator[ProgressLine]:
    """A line `title  ███  37/100 steps  2.1 steps/s  0:00:30  text` on rank 0's terminal."""
    if not (sys.stderr.isatty() and distributed.is_main()):
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            return Text(f"{task.speed or 0:.1f} {unit}/s")

    columns = [
        TextColumn("{task.description}"),
        BarColumn(20),
        TextColumn("{task.completed}/{task.total} " + unit),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task_id = progress.add_task(title, total=total, text="")

        class _Rich:
            def advance(self, steps: int = 1, text: str = "") -> None:
                if text:
                    progress.update(task_id, text=text)
                progress.advance(task_id, steps)

        yield _Rich()
