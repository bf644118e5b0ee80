"""Paths of the stored reference data, and fixtures that every test needs."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import (
    ROOT,
    SHORT_RUN,
    SMALL_SAMPLE,
    SUML_TINY,
    FinishedRun,
    launch_tool,
    run_tool,
)
from tests.devices import VARIABLE
from tests.logs import untouched_log
from tests.shared import made_once

# Signals that whoever started the tests ignores (nohup, a shell's `&`) would be ignored by the
# commands that the tests start and signal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="of the tests of several processes that can run on GPUs (CONTRIBUTING.md)",
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ[VARIABLE] = config.getoption("--device")


def _stored(variable: str, folder: str) -> Path:
    path = Path(os.environ.get(variable) or ROOT.parent / "shared" / folder)
    if not path.is_dir():
        pytest.skip(f"no reference data at {path} (set {variable})")
    return path


@pytest.fixture(autouse=True)
def _untouched_log() -> Iterator[None]:
    """Changes that a test makes to the package's logger end with it."""
    with untouched_log():
        yield


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the numbers of the published code (environment: SUML_GOLDEN)."""
    return _stored("SUML_GOLDEN", "golden")


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder with real annotations and frames (environment: SUML_REAL)."""
    return _stored("SUML_REAL", "real")


@pytest.fixture(scope="session")
def real_annotations(real: Path) -> Path:
    """Folder with the published annotations of further sets, one folder each."""
    path = real / "more" / "annotations"
    if not path.is_dir():
        pytest.skip(f"no annotations at {path}")
    return path


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with data/sample and its pair table."""
    return made_once(tmp_path_factory, "sample", _make_sample)


def _make_sample(home: Path) -> None:
    made = run_tool("make_sample.py", "--out", "data/sample", *SMALL_SAMPLE, cwd=home)
    assert made.returncode == 0, made.stderr
    mined = run_tool("mine_pairs.py", "--cfg", SUML_TINY, cwd=home)
    assert mined.returncode == 0, mined.stderr


@pytest.fixture(scope="session")
def suml_run(tmp_path_factory: pytest.TempPathFactory, sample_home: Path) -> FinishedRun:
    """One epoch of SUM-L in two processes under torchrun, and its test."""

    def make(home: Path) -> None:
        shutil.copytree(sample_home / "data", home / "data")
        args = ("--cfg", SUML_TINY, *SHORT_RUN, "SOLVER.MAX_EPOCH", 1, "OUTPUT_DIR", "runs/suml")
        ended = launch_tool("run_net.py", *args, processes=2, cwd=home)
        assert ended.returncode == 0, ended.stderr[-4000:]
        (home / "stderr").write_text(ended.stderr)

    home = made_once(tmp_path_factory, "suml_run", make)
    return FinishedRun(home, home / "runs" / "suml", (home / "stderr").read_text())
