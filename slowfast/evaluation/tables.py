"""Plain-text tables for the end of a test: results, chance level and published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slowfast.evaluation.epic import KINDS
from slowfast.evaluation.metric_names import main_value
from slowfast.evaluation.metric_registry import Metric
from slowfast.evaluation.reference import published_for

MISSING = "-"
# Row titles of main values whose name does not explain them.
_ROW_TITLES = {"action_both": "both in top 5", "": "mean of the heads"}


def format_table(results: Mapping[str, Any]) -> str:
    """Format the content of a `results.json` as a table, without a trailing newline.

    One line per head, and one for all heads, with the main metrics, their intervals and chance;
    then the official subsets and our own values, if available. Without labels: only the number of
    segments.
    """
    blocks = [_main_block(results)]
    if "official" in results:
        blocks += [_official_block(results), _scorer_block(results)]
    blocks += [_our_block(results), _published_block(results)]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def format_task(results: Mapping[str, Any]) -> str:
    """Format the results of a task on features as a table, without a trailing newline."""
    if results["task"] == "zero_shot":
        return format_table(results)
    sizes = [
        f"{value} {name.removeprefix('num_').replace('_', ' ')}"
        for name, value in results.items()
        if name.startswith("num_")
    ]
    rows = [["%; of pairs, cosine" if results["task"] == "cross_view" else "%", "value", "chance"]]
    for name, value in results.items():
        if isinstance(value, float) and not name.startswith("chance_"):
            rows.append([name, f"{value:.2f}", _number(results, f"chance_{name}")])
    return "\n".join([*align(rows), ", ".join(sizes)])


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows of cells as lines; the first column is left-aligned, the others right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _main_block(results: Mapping[str, Any]) -> list[str]:
    rows: dict[str, dict[Metric, str]] = {}
    for key, value in results.items():
        named = main_value(key) if isinstance(value, (int, float, type(None))) else None
        if named is not None:
            rows.setdefault(named[0], {})[named[1]] = key
    metrics = list(dict.fromkeys(metric for keys in rows.values() for metric in keys))
    if not metrics:
        return [_segments_line(results)]
    lines = [["%", *(heading for m in metrics for heading in (m.title, "95 %", "chance"))]]
    for answer, keys in rows.items():
        lines.append([_ROW_TITLES.get(answer, answer)])
        for metric in metrics:
            lines[-1] += _cells(results, keys.get(metric))
    return [*align(lines), _segments_line(results)]


def _cells(results: Mapping[str, Any], key: str | None) -> list[str]:
    """Value, interval and chance."""
    if key is None:
        return [MISSING] * 3
    return [*_value_and_interval(results, key), _number(results, f"chance_{key}")]


def _official_block(results: Mapping[str, Any]) -> list[str]:
    sizes, official = results["segments"], results["official"]
    rows = [["subset, % @1", *(cell for kind in KINDS for cell in (kind, "95 %", "segments"))]]
    for subset in ("unseen", "tail"):
        row = [subset]
        for kind in KINDS:
            name = f"{subset}_{kind}_accuracy_at_1"
            size = sizes.get(f"tail_{kind}" if subset == "tail" else subset)
            value = _value_and_interval({**results, **official}, name)
            row += [*value, str(size or MISSING)]
        if any(f"{subset}_{kind}_accuracy_at_1" in official for kind in KINDS):
            rows.append(row)
    return align(rows) if len(rows) > 1 else []


def _scorer_block(results: Mapping[str, Any]) -> list[str]:
    theirs = results.get("scorer_compat")
    if theirs is None:
        return []
    if not theirs["differing"]:
        return ["the public scorer's arithmetic gives the same official values"]
    rows = [["official value", "per segment", "public scorer"]]
    for name in theirs["differing"]:
        rows.append([name, _number(results["official"], name), _number(theirs["values"], name)])
    return [*align(rows), theirs["reason"]]


def _our_block(results: Mapping[str, Any]) -> list[str]:
    rows = [["not part of the official protocol, %", "value", "95 %"]]
    for name in results.get("ours", {}):
        rows.append([name, *_value_and_interval({**results, **results["ours"]}, name)])
    return align(rows) if len(rows) > 1 else []


def _published_block(results: Mapping[str, Any]) -> list[str]:
    models = published_for(results["num_segments"], list(results.get("num_classes", {}).values()))
    if not models or "verb_top1" not in results:
        return []
    names = ["verb_top1", "verb_top5", "noun_top1", "noun_top5"]
    rows = [["published, %", *names], ["this run", *(_number(results, name) for name in names)]]
    rows += [[m.model, *(_number(m.values, name) for name in names)] for m in models]
    return align(rows)


def _segments_line(results: Mapping[str, Any]) -> str:
    unlabelled, left_out = results.get("num_unlabelled", 0), results.get("left_out")
    line = f"{results['num_segments']} segments"
    if unlabelled:
        line += f", {unlabelled} of them without labels"
    if left_out:
        classes = ", ".join(f"{n} {name}" for name, n in left_out["classes_left_out"].items())
        line += (
            f"; PARTIAL: {left_out['used']} of {left_out['listed']} listed segments, "
            f"{left_out['missing_videos']} videos are missing (classes left out: {classes})"
        )
    return line


def _number(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return MISSING if value is None or value != value else f"{value:.2f}"


def _value_and_interval(results: Mapping[str, Any], name: str) -> list[str]:
    low, high = results.get("intervals", {}).get(name) or (None, None)
    # NaN in memory and null in a file mean that no resample had a value.
    known = low is not None and high is not None and low == low
    return [_number(results, name), f"[{low:.1f}, {high:.1f}]" if known else MISSING]
