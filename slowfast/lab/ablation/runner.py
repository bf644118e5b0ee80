"""Runs the runs of a plan in separate processes, several at a time; a failure ends only one."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from slowfast.lab.ablation.fingerprint import code_hash
from slowfast.lab.ablation.progress import expected_end, time_left, trained_share
from slowfast.lab.ablation.runs import Record, Run, read_record
from slowfast.utils.errors import UserError
from slowfast.utils.progress import Bar, Display

logger = logging.getLogger(__name__)

CONSOLE = "console.txt"
_LOCK = ".lock"
_POLL_SEC = 0.1
_SHOW_SEC = 1.0
_GRACE_SEC = 60.0
_LAST_LINES = 15


@dataclass
class _Child:
    run: Run
    slot: int
    process: subprocess.Popen[bytes]
    record: Record
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Own the folder for one runner; it is owned while the yielded descriptor is open.

    Children inherit the descriptor, so that no second runner starts while runs of a killed one
    are alive. Raises: UserError if the folder is owned.
    """
    out.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(out / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UserError(
            f"an ablation in {out} is still running, or a run that it started; wait for its end "
            "or give another --out"
        ) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Machine(NamedTuple):
    """jobs: runs side by side. threads, gpus: of the machine, shared among them."""

    jobs: int = 1
    threads: int = 1
    gpus: int = 0

    def share(self, slot: int) -> dict[str, str]:
        """Environment of the run in slot 0 to jobs - 1: its threads, and its GPUs if any.

        With fewer GPUs than jobs a GPU is shared.
        """
        count = str(max(self.threads // self.jobs, 1))
        share = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        if self.gpus and self.jobs > 1:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            names = visible.split(",") if visible else [str(n) for n in range(self.gpus)]
            own = names[slot :: self.jobs] or [names[slot % len(names)]]
            share["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        return share


class Runner:
    """Runs what is not finished, `machine.jobs` runs at a time.

    command: words that start a run, before `KEY VALUE ...`.
    lock: descriptor that the children inherit.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        command: Sequence[str],
        code: str,
        display: Display,
        machine: Machine,
        lock: int,
    ) -> None:
        self._runs = runs
        self._command = list(command)
        self._code = code
        self._display = display
        self._machine = machine
        self._lock = lock
        self._children: list[_Child] = []
        self._finished: set[tuple[str, int]] = set()
        self._failed: set[tuple[str, int]] = set()
        self._seconds: dict[str, list[float]] = defaultdict(list)

    def run_all(self) -> list[Run]:
        """Run what is not finished; returns the runs that failed or could not start.

        An interruption ends the children first. Raises: UserError if the code changes meanwhile.
        """
        waiting = deque(run for run in self._runs if not self._is_finished(run))
        if done := len(self._finished):
            self._display.say(f"{done} of {len(self._runs)} runs are finished already")
        shown = 0.0
        try:
            while waiting or self._children:
                self._start_ready(waiting)
                time.sleep(_POLL_SEC)
                for child in [c for c in self._children if c.process.poll() is not None]:
                    self._end(child, waiting)
                if time.monotonic() - shown > _SHOW_SEC:
                    self._show(waiting)
                    shown = time.monotonic()
        finally:
            self._stop_children()
        return [run for run in self._runs if _key(run) in self._failed]

    def _is_finished(self, run: Run) -> bool:
        record = read_record(run.folder)
        if record is None or not record.finished:
            return False
        self._finished.add(_key(run))
        self._seconds[run.arm.name].append(record.seconds)
        return True

    def _start_ready(self, waiting: deque[Run]) -> None:
        """Fill the free slots, in order, with runs that need no other run or a finished one."""
        for run in list(waiting):
            if len(self._children) == self._machine.jobs:
                return
            failed = [start.arm.name for start in run.starts if _key(start) in self._failed]
            if failed:
                waiting.remove(run)
                self._failed.add(_key(run))
                self._display.say(f"{run.name}: not run, as {failed[0]} failed")
            elif all(_key(start) in self._finished for start in run.starts):
                waiting.remove(run)
                self._start(run)

    def _start(self, run: Run) -> None:
        self._check_code()
        record = read_record(run.folder) or Record(run.made_with)
        record.write(run.folder)
        slot = min(set(range(self._machine.jobs)) - {child.slot for child in self._children})
        with (run.folder / CONSOLE).open("ab") as console:
            process = subprocess.Popen(
                [*self._command, *run.overrides],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=os.environ | self._machine.share(slot),
                pass_fds=[self._lock],
                # A separate group: an interruption reaches the runner alone, which ends it.
                start_new_session=True,
            )
        self._children.append(_Child(run, slot, process, record))
        again = f" again, {record.seconds:.0f} s in" if record.seconds else ""
        self._display.say(f"{run.name}: started{again}")

    def _end(self, child: _Child, waiting: deque[Run]) -> None:
        run, status = child.run, child.process.returncode
        self._children.remove(child)
        child.record.seconds += child.seconds
        if status == 0:
            self._check_code()
            child.record.finished = True
            self._finished.add(_key(run))
            self._seconds[run.arm.name].append(child.record.seconds)
        else:
            self._failed.add(_key(run))
        child.record.write(run.folder)
        if status == 0:
            self._display.say(
                f"{run.name}: finished in {child.record.seconds:.0f} s, "
                f"{len(waiting) + len(self._children)} runs to go, "
                f"{expected_end(self._time_left(waiting))}"
            )
        else:
            console = run.folder / CONSOLE
            text = "\n".join(f"    {line}" for line in _last_lines(console))
            self._display.say(
                f"{run.name}: failed with status {status}; the end of {console}:\n{text}"
            )

    def _check_code(self) -> None:
        if code_hash() != self._code:
            raise UserError(
                "the code changed while the ablation ran; the runs in progress are not marked as "
                "finished: restore it and start again, or give --fresh or another --out"
            )

    def _time_left(self, waiting: Sequence[Run]) -> float:
        running = [(c.run.arm.name, c.record.seconds + c.seconds) for c in self._children]
        names = [run.arm.name for run in waiting]
        return time_left(names, running, self._seconds, self._machine.jobs)

    def _show(self, waiting: Sequence[Run]) -> None:
        running = []
        for run in (child.run for child in self._children):
            share = trained_share(run.folder / "log.txt", run.arm.cfg.SOLVER.MAX_EPOCH)
            running.append(Bar(f"  {run.name}", share))
        done, total = len(self._finished) + len(self._failed), len(self._runs)
        whole = (done + sum(bar.share for bar in running)) / max(total, 1)
        text = f"{done}/{total} runs, {expected_end(self._time_left(waiting))}"
        self._display.show([Bar("ablation", whole, text), *running])

    def _stop_children(self) -> None:
        """Let them write a checkpoint and end; a second interruption kills them."""
        for child in self._children:
            _signal_group(child.process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SEC
        try:
            for child in self._children:
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(deadline - time.monotonic(), 0.0))
        finally:
            for child in self._children:
                # Processes that a run has started may outlive it.
                _signal_group(child.process, signal.SIGKILL)
                child.process.wait()
                child.record.seconds += child.seconds
                child.record.write(child.run.folder)
            self._children.clear()


def _last_lines(path: Path) -> list[str]:
    """The last lines of a text file; none where it is missing."""
    if not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]


def _key(run: Run) -> tuple[str, int]:
    return run.arm.name, run.seed


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
