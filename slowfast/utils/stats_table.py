"""Statistics of the log periods of a run as the rows of a readable table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slowfast.utils.stats_line import clock

_ACCURACY = "_top1"
_MIN_WIDTH = 4
_USUAL_COLUMNS = 80
# Rows between two lines of titles, so that a screen always has titles in view.
_ROWS_PER_TITLE = 20


class StatsTable:
    """Formats rows; the titles are repeated when the columns change and every 20 rows.

    A title of two words takes two lines, so that all columns fit into 80 characters.
    """

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}
        self._rows = 0

    def lines(self, row: Mapping[str, str], columns: int) -> list[str]:
        """The row, with the titles above it if they are due.

        row: cells by title. columns: width of the terminal; where the row is wider, its accuracies
            are left out.
        """
        if sum(_width(title, cell) + 1 for title, cell in row.items()) - 1 > columns:
            row = {title: cell for title, cell in row.items() if not title.endswith(_ACCURACY)}
        titles: list[str] = []
        if list(row) != list(self._widths) or self._rows == _ROWS_PER_TITLE:
            self._widths = {title: _width(title, cell) for title, cell in row.items()}
            self._rows = 0
            titles = [self._joined(line) for line in zip(*map(_stacked, row), strict=True)]
        self._rows += 1
        return [*titles, self._joined(row.values())]

    def _joined(self, cells: Iterable[str]) -> str:
        widths = self._widths.values()
        return " ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def period_row(stats: Mapping[str, Any], losses: Sequence[str]) -> dict[str, str]:
    """Cells of a `train_iter` line by title. losses: names of the terms of the loss."""
    accuracies = [name for name in stats if name.endswith(_ACCURACY)]
    return {
        "epoch": _padded(stats["epoch"]),
        "step": _padded(stats["iter"]),
        **{name: _short(stats.get(name)) for name in ("loss", *losses)},
        **{name: f"{stats[name]:.1f}" for name in accuracies},
        "lr": f"{stats['lr']:.0e}".replace("e-0", "e-"),
        "sec/ step": _short(stats["sec_per_step"]),
        "data wait": f"{stats['data_wait']:.0%}",
        "time left": clock(stats["eta_sec"]),
    }


def terminal_columns() -> int:
    """Width of the terminal of standard error."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        # A terminal in a test, or one without a known width.
        return _USUAL_COLUMNS


def _padded(position: str) -> str:
    """`5/25` as wide as `25/25`."""
    _, _, total = position.partition("/")
    return position.rjust(2 * len(total) + 1)


def _stacked(title: str) -> tuple[str, str]:
    """`ego_verb` as `ego` over `verb`; one word is in the lower line."""
    upper, _, lower = title.replace("_", " ").partition(" ")
    return (upper, lower) if lower else ("", upper)


def _width(title: str, cell: str) -> int:
    return max(_MIN_WIDTH, len(cell), *map(len, _stacked(title)))


def _short(value: float | None) -> str:
    """A number in at most five characters; `-` for a mean over no step."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1e5 or 0 < size < 0.01:
        return f"{value:.0e}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
