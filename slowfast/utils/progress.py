"""Progress on a terminal: a line for a loop, or bars for several tasks at once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from slowfast.utils import distributed

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

logger = logging.getLogger(__name__)


class ProgressLine:
    """Progress of a loop; this base class shows nothing."""

    def advance(self, steps: int = 1, text: str = "") -> None:
        """Count finished steps; `text` stays at the end of the line until it is replaced."""


class _LoggedLine(ProgressLine):
    def __init__(self, total: int, message: str) -> None:
        self._done, self._total, self._message = 0, total, message

    def advance(self, steps: int = 1, text: str = "") -> None:
        self._done += steps
        logger.info(self._message, self._done, self._total)


class _TerminalLine(ProgressLine):
    def __init__(self, progress: Progress, title: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total, text="")

    def advance(self, steps: int = 1, text: str = "") -> None:
        if text:
            self._progress.update(self._task, text=text)
        self._progress.advance(self._task, steps)


@contextmanager
def progress_line(
    title: str, total: int, unit: str, log_message: str = ""
) -> Iterator[ProgressLine]:
    """Show `title  ███  37/100 steps  2.1 steps/s  0:00:30  text` on the terminal of rank 0.

    log_message: logged at every `advance` if there is no terminal, with the steps done and `total`
        for its two `%d`; empty: nothing is logged.
    """
    if not _on_terminal():
        yield _LoggedLine(total, log_message) if log_message else ProgressLine()
        return
    from rich.progress import ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f} {unit}/s")

    count = TextColumn("{task.completed}/{task.total} " + unit)
    with _terminal_progress(count, Rate(), TimeRemainingColumn()) as progress:
        yield _TerminalLine(progress, title, total)


@contextmanager
def download_line(title: str, total: int | None) -> Iterator[ProgressLine]:
    """Show `title  ███  12.5/98.0 MB  3.1 MB/s` on the terminal; `advance` counts bytes.

    Shown on every rank, because any process may be the one that downloads. total: None if unknown.
    """
    if not sys.stderr.isatty():
        yield ProgressLine()
        return
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with _terminal_progress(DownloadColumn(), TransferSpeedColumn()) as progress:
        yield _TerminalLine(progress, title, total)


class Bar(NamedTuple):
    """State of one task. share: completed fraction, 0 to 1."""

    title: str
    share: float
    text: str = ""


class Display:
    """Permanent messages above bars of the current state; only the messages go to the log."""

    def say(self, text: str) -> None:
        logger.info("%s", text)

    def show(self, bars: Sequence[Bar]) -> None:
        """Replace the bars."""


class _TerminalDisplay(Display):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lines: list[TaskID] = []

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def show(self, bars: Sequence[Bar]) -> None:
        while len(self._lines) < len(bars):
            self._lines.append(self._progress.add_task("", total=1.0, text=""))
        for line, bar in zip(self._lines, bars, strict=False):
            self._progress.update(
                line, description=bar.title, completed=bar.share, text=bar.text, visible=True
            )
        for line in self._lines[len(bars) :]:
            self._progress.update(line, visible=False)


@contextmanager
def open_display() -> Iterator[Display]:
    """A display on the terminal, or in the log if there is none."""
    if not _on_terminal():
        yield Display()
        return
    from rich.progress import TextColumn

    with _terminal_progress(TextColumn("{task.percentage:>3.0f} %")) as progress:
        yield _TerminalDisplay(progress)


def _on_terminal() -> bool:
    return sys.stderr.isatty() and distributed.is_main()


def _terminal_progress(*columns: ProgressColumn) -> Progress:
    """`description  bar  columns  text`, on stderr; erased at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(20),
        *columns,
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
        transient=True,
    )
