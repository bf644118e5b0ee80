"""DISTRIBUTED.TIMEOUT: a process that times out names the missing ones in one line."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import ROOT, assert_one_line_error, environment

Started = list[subprocess.Popen[str]]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def started() -> Iterator[Started]:
    """Processes that are ended with the test."""
    processes: Started = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: Started, rank: int, port: int, output: Path, hangs: bool = False) -> None:
    """Process `rank` of 3."""
    words = map(str, (rank, 3, port, output, "hangs" if hangs else "goes on"))
    started.append(
        subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.late_processes", *words],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


def let_go(started: Started) -> None:
    """Let all processes continue once all are ready."""
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def assert_error(process: subprocess.Popen[str], *parts: str) -> None:
    _, stderr = process.communicate(timeout=120)
    ended = subprocess.CompletedProcess(process.args, process.returncode, "", stderr)
    assert_one_line_error(ended, "DISTRIBUTED.TIMEOUT", *parts)


def test_a_process_that_never_arrives(started: Started, port: int, tmp_path: Path) -> None:
    for rank in (0, 2):
        start(started, rank, port, tmp_path / "run")
    let_go(started)
    assert_error(
        started[0], "process 1 of 3 has not arrived", f"tcp://localhost:{port}", "within 3 s"
    )
    # The one that gives up first takes the store with it, which the other may find gone.
    assert_error(started[1], "of 3 ha", "not arrived")
    assert not (tmp_path / "run").exists()


def test_the_first_process_never_arrives(started: Started, port: int, tmp_path: Path) -> None:
    start(started, 2, port, tmp_path)
    let_go(started)
    assert_error(started[0], "process 0 has not opened it", f"tcp://localhost:{port}")


def test_a_process_that_hangs(started: Started, port: int, tmp_path: Path) -> None:
    for rank in range(3):
        start(started, rank, port, tmp_path, hangs=rank == 1)
    let_go(started)
    for rank in (0, 2):
        assert_error(started[rank], "process 1 of 3 has not joined")
