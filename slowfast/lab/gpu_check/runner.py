"""Runs the parts one after the other, each in its own process group with its own limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from slowfast.lab.benchmark.report import machine
from slowfast.lab.gpu_check.parts import Part
from slowfast.lab.gpu_check.summary import markdown
from slowfast.utils.files import write_json, write_text

OK, FAILED, OVER_LIMIT, KILLED, NOT_STARTED = (
    *("ok", "failed", "over its limit", "killed"),
    "not started: no time left",
)
_TAIL_LINES = 12


@dataclass(frozen=True)
class Outcome:
    """Result of a part.

    status: one of the names above. seconds: wall time. detail: last lines of the output, which
        say how many tests were skipped.
    report: what the part wrote itself; empty without a file.
    """

    name: str
    status: str
    seconds: float = 0.0
    detail: str = ""
    report: dict[str, Any] = field(default_factory=dict)


def run_parts(
    parts: Sequence[Part],
    output: Path,
    total_sec: float,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run every part for which there is time; write `check.json` and `check.md` after each.

    total_sec: wall time of the whole check. A part gets its limit or what is left of it.
    """
    output.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + total_sec
    outcomes: list[Outcome] = []
    for number, part in enumerate(parts):
        left = end - time.monotonic()
        stem = output / f"part_{number:02d}"
        outcome = run_part(part, min(part.limit_sec, left), stem) if left > 0 else None
        outcomes.append(outcome or Outcome(part.name, NOT_STARTED))
        _write(outcomes, output)
        on_outcome(outcomes[-1])
    return outcomes


def run_part(part: Part, limit_sec: float, stem: Path) -> Outcome:
    """One part, with its output in STEM.log and its report in STEM.json."""
    log, report = stem.with_suffix(".log"), stem.with_suffix(".json")
    for path in (log, report):
        path.unlink(missing_ok=True)
    start = time.monotonic()
    with log.open("ab") as stream:
        process = subprocess.Popen(
            part.command(report),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(limit_sec)
            status = OK if code == 0 else KILLED if code < 0 else FAILED
        except subprocess.TimeoutExpired:
            status = OVER_LIMIT
        finally:
            # Also after a part that ended: its children may hold memory of the GPU.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return Outcome(part.name, status, time.monotonic() - start, _tail(log), _read(report))


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _read(report: Path) -> dict[str, Any]:
    """A part that was killed leaves no report, since reports are written atomically."""
    if not report.is_file():
        return {}
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return found


def _write(outcomes: Sequence[Outcome], output: Path) -> None:
    parts = [asdict(outcome) for outcome in outcomes]
    write_json(output / "check.json", {"machine": machine(), "parts": parts})
    write_text(output / "check.md", markdown(machine(), parts))
