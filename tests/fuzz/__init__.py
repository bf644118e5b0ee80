"""Damaged files for every reader: each must be read, or refused with one UserError.

A target is a reader with a few good files. `fuzz` damages them, with a fixed seed, and reads the
result; anything but a value or a UserError is a fault, and so is a file that takes more than
SECONDS of processor time or more memory than `limits.allowed_bytes` and the slack of the parsers.

    python -m tests.fuzz pair_table --minutes 60
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowfast.utils.errors import UserError
from tests.fuzz.mutators import mutated

# Of processor time for one file.
SECONDS = 5.0
# Memory for one file: 4 times its size and this.
FREE_BYTES = 200 << 20
GROWTH = 4


@dataclass(frozen=True)
class Target:
    """name: of the reader. suffix: of its files. seeds: writes good files into a folder.

    read: reads one file as the program does. It may raise nothing but UserError.
    """

    name: str
    suffix: str
    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[Path], Any]


TARGETS: dict[str, Target] = {}


def target(
    name: str, suffix: str, seeds: Callable[[Path], Sequence[bytes]]
) -> Callable[[Callable[[Path], Any]], Callable[[Path], Any]]:
    """Decorator that registers the function, which reads one file, as the target `name`."""

    def register(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        TARGETS[name] = Target(name, suffix, seeds, read)
        return read

    return register


def load_targets() -> dict[str, Target]:
    """The targets of all modules in tests/fuzz/targets."""
    package = importlib.import_module("tests.fuzz.targets")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return TARGETS


@dataclass
class Outcome:
    """Counts of one fuzzing run. faults: what went wrong, with the file that is kept."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    peak_bytes: int = 0
    faults: list[str] = field(default_factory=list)


def fuzz(target: Target, folder: Path, go_on: Callable[[Outcome], bool], seed: int = 0) -> Outcome:
    """Read damaged files while `go_on` says so. Good files must be accepted.

    folder: an empty folder; files that show a fault stay there.
    """
    seeds = [bytes(data) for data in target.seeds(folder)]
    path = folder / f"input{target.suffix}"
    for data in seeds:
        path.write_bytes(data)
        target.read(path)
    draw = random.Random(seed)
    outcome = Outcome()
    while go_on(outcome):
        data = mutated(draw, seeds)
        path.write_bytes(data)
        fault = _read(target, path, outcome)
        outcome.inputs += 1
        if fault:
            kept = folder / f"fault_{len(outcome.faults)}{target.suffix}"
            kept.write_bytes(data)
            outcome.faults.append(f"{kept}: {fault}")
    return outcome


def _read(target: Target, path: Path, outcome: Outcome) -> str:
    """Read one file; returns the fault, empty if there is none."""
    before = _reset_peak()
    try:
        with _time_limit():
            target.read(path)
        outcome.accepted += 1
    except UserError as error:
        outcome.refused += 1
        if path.stem not in str(error):
            return f"the error does not name the file: {error}"
    except _TooSlowError:
        return f"more than {SECONDS} s"
    except Exception:
        return traceback.format_exc()
    grown = _peak() - before
    outcome.peak_bytes = max(outcome.peak_bytes, grown)
    if grown > FREE_BYTES + GROWTH * path.stat().st_size:
        return f"{grown >> 20} MB"
    return ""


class _TooSlowError(BaseException):
    """Not an Exception, so that no reader treats it as a damaged file."""


@contextmanager
def _time_limit() -> Iterator[None]:
    """Limit of processor time, so that a busy machine causes no fault."""

    def stop(*_: object) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _reset_peak() -> int:
    """Bytes in memory now; the peak starts from there where the system can reset it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))
