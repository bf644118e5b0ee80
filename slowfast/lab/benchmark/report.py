"""The findings of a benchmark, as text and as JSON."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import torch

from slowfast.lab.benchmark.timing import core_count
from slowfast.utils.files import write_json


@dataclass(frozen=True)
class Check:
    """One comparison of numbers. unit: of `found` and `limit`."""

    name: str
    found: float
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.found <= self.limit


@dataclass
class Table:
    """Milliseconds of alternatives that do the same work.

    baseline, limit: names of the parts that the ratios are formed with; empty: none.
    """

    title: str
    unit: str
    milliseconds: dict[str, float]
    baseline: str = ""
    limit: str = ""

    def ratios(self, part: str) -> dict[str, float]:
        """Times faster than the baseline; share of the limit's speed."""
        own, times = self.milliseconds[part], self.milliseconds
        found = {}
        if self.baseline:
            found["times_baseline"] = times[self.baseline] / own
        if self.limit:
            found["share_of_limit"] = times[self.limit] / own
        return found

    def lines(self) -> list[str]:
        lines = [f"{self.title} ({self.unit})"]
        for part, value in self.milliseconds.items():
            ratios = self.ratios(part)
            shown = f"  {part:<44}{value:>10.3f} ms"
            if self.baseline:
                shown += f"{ratios['times_baseline']:>10.1f} x baseline"
            if self.limit:
                shown += f"{ratios['share_of_limit']:>8.2f} of the limit"
            lines.append(shown)
        return lines


@dataclass
class Report:
    """The tables, checks and remarks of one benchmark.

    figures: other measurements of a part, by part and name with its unit.
    """

    name: str
    tables: list[Table] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def lines(self) -> list[str]:
        lines = [line for table in self.tables for line in [*table.lines(), ""]]
        for part, values in self.figures.items():
            lines.append(part)
            lines += [f"  {name:<44}{value:>14.4g}" for name, value in values.items()]
        for check in self.checks:
            verdict = "holds" if check.holds else "FAILS"
            lines.append(
                f"{verdict}: {check.name}: {check.found:.3g}, allowed {check.limit:g} {check.unit}"
            )
        return [*lines, *self.remarks]

    def save(self, path: Path) -> None:
        """Write everything, and the machine, as JSON."""
        content = {
            "benchmark": self.name,
            "machine": machine(),
            "tables": [
                {
                    **asdict(table),
                    "ratios": {name: table.ratios(name) for name in table.milliseconds},
                }
                for table in self.tables
            ],
            "figures": self.figures,
            "checks": [{**asdict(check), "holds": check.holds} for check in self.checks],
            "remarks": self.remarks,
        }
        write_json(path, content)


def machine() -> dict[str, str | int]:
    """Hardware and versions that the figures depend on."""
    return {
        "processor": _processor(),
        "cores": core_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "jpeg_decoder": _jpeg_decoder(),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _jpeg_decoder() -> str:
    try:
        return f"simplejpeg {version('simplejpeg')}"
    except PackageNotFoundError:
        return f"OpenCV {cv2.__version__}"
