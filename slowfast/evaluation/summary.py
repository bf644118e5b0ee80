"""One table over several runs: values, intervals, differences to the first run, and noise.

The noise of a difference is the root of the summed squares of both half intervals: as if the runs
had been scored on separate segments, which is cautious for runs scored on the same ones.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slowfast.evaluation.results import read_results
from slowfast.evaluation.tables import MISSING
from slowfast.utils.errors import UserError

RESULTS_FILE = "results.json"
DEFAULT_KEYS = ("verb_top1", "verb_top5", "noun_top1", "noun_top5", "action_top1", "action_top5")
MULTILABEL_KEYS = ("verb_mAP", "noun_mAP", "mAP")


@dataclass(frozen=True)
class Run:
    """A run's name and its values and 95 % intervals by name, percent."""

    name: str
    num_segments: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Cell:
    """One value of one run; `difference` and `inside_noise` are to the first run."""

    value: float | None
    interval: tuple[float, float] | None
    difference: float | None
    inside_noise: bool


def load_run(path: Path | str) -> Run:
    """Read a run folder's results, or a results file.

    Raises: UserError where it is missing or is no results file.
    """
    path = Path(path)
    file = path / RESULTS_FILE if path.is_dir() else path
    name = path.name if path.is_dir() or path.name != RESULTS_FILE else path.resolve().parent.name
    content = read_results(file)
    intervals = {
        key: (float(low), float(high))
        for key, (low, high) in content.get("intervals", {}).items()
        if low is not None and high is not None
    }
    return Run(name, content["num_segments"], _values(content), intervals)


def choose_keys(runs: Sequence[Run], keys: Sequence[str] | None = None) -> list[str]:
    """The given keys, or the default ones that some run has.

    Raises: UserError where no run has a given key, or none has a default one.
    """
    known = {key for run in runs for key in run.values}
    if keys:
        for key in keys:
            if key not in known:
                raise UserError(f"no run has {key}; there are {', '.join(sorted(known))}")
        return list(keys)
    chosen = [key for key in (*DEFAULT_KEYS, *MULTILABEL_KEYS) if key in known]
    if not chosen:
        raise UserError("the runs have no values to compare: they were tested without labels")
    return chosen


def compare(runs: Sequence[Run], keys: Sequence[str]) -> list[list[Cell]]:
    """Per run, one cell per key.

    Raises: UserError where the runs were scored on different numbers of segments.
    """
    for run in runs[1:]:
        if run.num_segments != runs[0].num_segments:
            raise UserError(
                f"{runs[0].name} was scored on {runs[0].num_segments} segments, {run.name} on "
                f"{run.num_segments}; compare runs of one test list"
            )
    return [[_cell(run, runs[0], key) for key in keys] for run in runs]


def format_summary(runs: Sequence[Run], style: str, keys: Sequence[str] | None = None) -> str:
    """The table as markdown, latex or csv text."""
    chosen = choose_keys(runs, keys)
    return STYLES[style](runs, chosen, compare(runs, chosen))


def _values(content: Mapping[str, Any]) -> dict[str, float]:
    flat = {**content.get("ours", {}), **content.get("official", {}), **content}
    return {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, (int, float)) and not key.startswith("num_")
    }


def _cell(run: Run, first: Run, key: str) -> Cell:
    value, base = run.values.get(key), first.values.get(key)
    interval = run.intervals.get(key)
    if run is first or value is None or base is None:
        return Cell(value, interval, None, False)
    difference = value - base
    return Cell(value, interval, difference, _is_noise(difference, interval, first, key))


def _is_noise(
    difference: float, interval: tuple[float, float] | None, first: Run, key: str
) -> bool:
    other = first.intervals.get(key)
    if interval is None or other is None:
        return False
    return abs(difference) <= math.hypot(interval[1] - interval[0], other[1] - other[0]) / 2


def _markdown(runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    lines = ["| run | " + " | ".join(keys) + " |", "|---|" + "---:|" * len(keys)]
    for run, row in zip(runs, cells, strict=True):
        lines.append(f"| {run.name} | " + " | ".join(_text(cell) for cell in row) + " |")
    return "\n".join([*lines, "", _legend(runs)])


def _latex(runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    lines = [f"\\begin{{tabular}}{{l{'r' * len(keys)}}}", "\\hline"]
    lines.append(" & ".join(["run", *(_escaped(key) for key in keys)]) + r" \\ \hline")
    for run, row in zip(runs, cells, strict=True):
        texts = [_text(cell).replace("~", r"$\sim$") for cell in row]
        lines.append(" & ".join([_escaped(run.name), *texts]) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", f"% {_legend(runs)}"])


def _csv(runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["run", "key", "value", "low", "high", "difference", "inside_noise"])
    for run, row in zip(runs, cells, strict=True):
        for key, cell in zip(keys, row, strict=True):
            low, high = cell.interval or (None, None)
            noise = "" if cell.difference is None else str(cell.inside_noise).lower()
            rows.writerow([run.name, key, cell.value, low, high, cell.difference, noise])
    return text.getvalue().rstrip("\n")


STYLES: Mapping[str, Callable[[Sequence[Run], Sequence[str], Sequence[Sequence[Cell]]], str]] = {
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
}


def _text(cell: Cell) -> str:
    if cell.value is None:
        return MISSING
    text = f"{cell.value:.2f}"
    if cell.interval is not None:
        text += f" [{cell.interval[0]:.1f}, {cell.interval[1]:.1f}]"
    if cell.difference is not None:
        text += f" ({cell.difference:+.2f}{'~' if cell.inside_noise else ''})"
    return text


def _legend(runs: Sequence[Run]) -> str:
    return (
        f"{runs[0].num_segments} segments; value [95 % interval] (difference to {runs[0].name}; "
        "~ inside the noise)"
    )


def _escaped(text: str) -> str:
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")
