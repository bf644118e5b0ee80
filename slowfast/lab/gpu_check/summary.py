"""The check as Markdown, ready for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Sequence[object]


def markdown(machine: Mapping[str, object], parts: Sequence[Mapping[str, Any]]) -> str:
    """parts: name, status, seconds, detail and report of each part, as in `check.json`."""
    hardware = ", ".join(f"{name} {value}" for name, value in machine.items())
    rows: list[Row] = [
        (part["name"], part["status"], f"{part['seconds']:.0f}", _last_line(part["detail"]))
        for part in parts
    ]
    sections = [hardware, _table(("part", "status", "seconds", "last line"), rows)]
    for part in parts:
        sections += _measurements(part["name"], part["report"])
    return "\n\n".join(sections) + "\n"


def _measurements(name: str, report: Mapping[str, Any]) -> list[str]:
    found, rows = [], list[Row]()
    for table in report.get("tables", []):
        rows = [
            (way, f"{value:.4g}", _times(table["ratios"][way]))
            for way, value in table["milliseconds"].items()
        ]
        head = (f"{name}: {table['title']}", f"{table['unit']}, ms", "times the baseline")
        found.append(_table(head, rows))
    figures: Mapping[str, Mapping[str, float]] = report.get("figures", {})
    if figures:
        names = list(dict.fromkeys(key for values in figures.values() for key in values))
        rows = [
            (way, *(_shown(values.get(key)) for key in names)) for way, values in figures.items()
        ]
        found.append(_table((name, *names), rows))
    checks = [
        (
            check["name"],
            _shown(check["found"]),
            f"{check['limit']:g} {check['unit']}",
            "holds" if check["holds"] else "FAILS",
        )
        for check in report.get("checks", [])
    ]
    if checks:
        found.append(_table((f"{name}: check", "found", "allowed", "result"), checks))
    return found


def _last_line(detail: str) -> str:
    return detail.rsplit("\n", 1)[-1].replace("|", "\\|")[:80]


def _times(ratios: Mapping[str, float]) -> str:
    return f"{ratios['times_baseline']:.2f}" if "times_baseline" in ratios else "-"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
