"""One table over several runs: values, intervals, differences to the first run, and noise.

A difference is inside the noise if the 95 % interval of a paired bootstrap over segments contains
zero. This needs the predictions of both runs and their labelled list. Without them, the noise is
the root of the sum of squares of both half intervals, as if the runs had been scored on separate
segments; that is conservative for runs scored on the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from slowfast.evaluation.epic_values import BOTH_TOP5
from slowfast.evaluation.metric_names import main_value
from slowfast.evaluation.metrics import Statistic, paired_intervals
from slowfast.evaluation.paired import (
    LabelledList,
    agrees,
    prediction_statistics,
)
from slowfast.evaluation.results import read_results
from slowfast.evaluation.tables import MISSING
from slowfast.utils.errors import UserError

RESULTS_FILE = "results.json"
EVALUATION_FILE = "evaluation.json"
PREDICTIONS_FILE = "predictions.pkl"


@dataclass(frozen=True)
class Run:
    """A run's name and its values and 95 % intervals by name, percent.

    predictions: the file that they were computed from; None if it is missing.
    """

    name: str
    num_segments: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    predictions: Path | None = None


@dataclass(frozen=True)
class Cell:
    """One value of one run; `difference` and `inside_noise` are relative to the first run.

    paired: 95 % interval of the difference by the paired bootstrap; None if not computed.
    """

    value: float | None
    interval: tuple[float, float] | None
    difference: float | None = None
    inside_noise: bool = False
    paired: tuple[float, float] | None = None


# Per run, the paired interval of its difference to the first run, by name.
Paired = Sequence[Mapping[str, tuple[float, float]]]


def load_run(path: Path | str) -> Run:
    """Read a run folder's results (of its test, else of tools/evaluate.py), or a results file.

    Raises: UserError if it is missing or not a results file.
    """
    path = Path(path)
    file = path
    if path.is_dir():
        only_evaluated = not (path / RESULTS_FILE).is_file() and (path / EVALUATION_FILE).is_file()
        file = path / (EVALUATION_FILE if only_evaluated else RESULTS_FILE)
    of_folder = path.is_dir() or path.name in (RESULTS_FILE, EVALUATION_FILE)
    name = file.resolve().parent.name if of_folder else path.name
    content = read_results(file)
    predictions = file.parent / PREDICTIONS_FILE
    intervals = {
        key: (float(low), float(high))
        for key, (low, high) in content.get("intervals", {}).items()
        if low is not None and high is not None
    }
    return Run(
        name,
        content["num_segments"],
        _values(content),
        intervals,
        predictions if predictions.is_file() else None,
    )


def paired_differences(
    runs: Sequence[Run], keys: Sequence[str], labelled: LabelledList | None
) -> Paired:
    """The paired bootstrap of every run with the first, for runs that have predictions.

    A value is left out if the stored predictions do not reproduce it, because the run joined or
    scored them in another way. Raises: UserError if predictions do not fit the list.
    """
    found: list[dict[str, Statistic]] = []
    for run in runs:
        statistics: dict[str, Statistic] = {}
        if run.predictions is not None and labelled is not None:
            statistics = prediction_statistics(run.predictions, labelled)
        found.append(
            {
                key: statistics[key]
                for key in keys
                if key in statistics
                and key in run.values
                and agrees(statistics[key], run.values[key], run.num_segments)
            }
        )
    return [
        paired_intervals(found[0], other, runs[0].num_segments) if other else {} for other in found
    ]


def choose_keys(runs: Sequence[Run], keys: Sequence[str] | None = None) -> list[str]:
    """The given keys, or the main values of the runs.

    Raises: UserError if no run has a given key, or none has a main value.
    """
    known = dict.fromkeys(key for run in runs for key in run.values)
    if keys:
        for key in keys:
            if key not in known:
                raise UserError(f"no run has {key}; choose from {', '.join(sorted(known))}")
        return list(keys)
    chosen = [key for key in known if main_value(key) and key != BOTH_TOP5]
    if not chosen:
        raise UserError("the runs have no values to compare: they were tested without labels")
    return chosen


def compare(
    runs: Sequence[Run], keys: Sequence[str], labelled: LabelledList | None = None
) -> list[list[Cell]]:
    """Per run, one cell per key. labelled: the list that they were scored on, for paired noise.

    Raises: UserError if the runs were scored on different numbers of segments.
    """
    for run in runs[1:]:
        if run.num_segments != runs[0].num_segments:
            raise UserError(
                f"{runs[0].name} was scored on {runs[0].num_segments} segments, {run.name} on "
                f"{run.num_segments}; compare runs of one test list"
            )
    paired = paired_differences(runs, keys, labelled)
    return [
        [_cell(run, runs[0], key, intervals.get(key)) for key in keys]
        for run, intervals in zip(runs, paired, strict=True)
    ]


def format_summary(
    runs: Sequence[Run],
    style: str,
    keys: Sequence[str] | None = None,
    labelled: LabelledList | None = None,
) -> str:
    """The table as markdown, latex or csv text. labelled: as in `compare`."""
    chosen = choose_keys(runs, keys)
    return STYLES[style](runs, chosen, compare(runs, chosen, labelled))


def _values(content: Mapping[str, Any]) -> dict[str, float]:
    flat = {**content.get("ours", {}), **content.get("official", {}), **content}
    return {
        key: float(value)
        for key, value in flat.items()
        if isinstance(value, (int, float)) and not key.startswith("num_")
    }


def _cell(run: Run, first: Run, key: str, paired: tuple[float, float] | None) -> Cell:
    value, base = run.values.get(key), first.values.get(key)
    interval = run.intervals.get(key)
    if run is first or value is None or base is None:
        return Cell(value, interval)
    difference = value - base
    if paired is not None:
        return Cell(value, interval, difference, paired[0] <= 0 <= paired[1], paired)
    return Cell(value, interval, difference, _is_noise(difference, interval, first, key))


def _is_noise(
    difference: float, interval: tuple[float, float] | None, first: Run, key: str
) -> bool:
    other = first.intervals.get(key)
    if interval is None or other is None:
        return False
    return abs(difference) <= math.hypot(interval[1] - interval[0], other[1] - other[0]) / 2


def _markdown(runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    align = ["left", *["right"] * len(keys)]
    # Without disable_numparse, tabulate would reformat the numbers among the texts.
    table = _table(runs, keys, cells).to_markdown(
        index=False, disable_numparse=True, colalign=align
    )
    return f"{table}\n\n{_legend(runs, cells)}"


def _latex(runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    table = _table(runs, keys, cells).map(_escaped).rename(columns=_escaped)
    text = table.to_latex(index=False, column_format="l" + "r" * len(keys))
    return f"{text}% {_legend(runs, cells)} Needs the package booktabs."


def _table(
    runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]
) -> pd.DataFrame:
    rows = [[run.name, *map(_text, row)] for run, row in zip(runs, cells, strict=True)]
    return pd.DataFrame(rows, columns=["run", *keys])


def _csv(runs: Sequence[Run], keys: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    none = (None, None)
    rows = [
        {
            "run": run.name,
            "key": key,
            "value": cell.value,
            **dict(zip(("low", "high"), cell.interval or none, strict=True)),
            "difference": cell.difference,
            "inside_noise": "" if cell.difference is None else str(cell.inside_noise).lower(),
            **dict(zip(("difference_low", "difference_high"), cell.paired or none, strict=True)),
        }
        for run, row in zip(runs, cells, strict=True)
        for key, cell in zip(keys, row, strict=True)
    ]
    return str(pd.DataFrame(rows).to_csv(index=False)).rstrip("\n")


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


def _legend(runs: Sequence[Run], cells: Sequence[Sequence[Cell]]) -> str:
    compared = [cell for row in cells for cell in row if cell.difference is not None]
    paired = sum(cell.paired is not None for cell in compared)
    noise = "inside the noise"
    if paired:
        noise += " by a paired bootstrap over segments"
    if paired and paired < len(compared):
        noise += f" ({paired} of {len(compared)} differences; the others by both intervals)"
    return (
        f"{runs[0].num_segments} segments; value [95 % interval] (difference to {runs[0].name}; "
        f"~ {noise})"
    )


def _escaped(text: str) -> str:
    for sign, command in (*((sign, rf"\{sign}") for sign in "_%&#"), ("~", r"$\sim$")):
        text = text.replace(sign, command)
    return text
