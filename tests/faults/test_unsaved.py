"""A full disk: training continues, and reports at its end that no checkpoint was saved."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from slowfast.engine.checkpoints import writer
from slowfast.utils.errors import UserError
from tests.faults.trainings import run_here, signal_in_step, training_cfg


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writer, "write_checkpoint", full)


@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.usefixtures("full_disk")
def test_a_training_without_its_last_checkpoint_fails(
    sample_home: Path, monkeypatch: pytest.MonkeyPatch, tested: bool
) -> None:
    """It is not followed by a test of another checkpoint."""
    monkeypatch.chdir(sample_home)
    output = f"runs/unsaved_{tested}"
    cfg = training_cfg(output, "SOLVER.MAX_EPOCH", 1, "TEST.ENABLE", tested)
    with pytest.raises(UserError) as failed:
        run_here(cfg)
    line = str(failed.value)
    assert "checkpoint_epoch_00001.pyth: No space left on device" in line
    assert "no checkpoint was saved, so the same command starts from the beginning" in line
    assert not Path(output, "results.json").exists()


@pytest.mark.usefixtures("full_disk")
def test_a_stop_that_saves_nothing_says_so(
    sample_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    cfg = training_cfg("runs/unsaved_stop", "SOLVER.MAX_EPOCH", 1)
    signal_in_step(monkeypatch, 0, 0, signal.SIGTERM)
    assert run_here(cfg) == 143
    log = Path("runs/unsaved_stop/log.txt").read_text()
    assert "this step could not be saved; no checkpoint was saved" in log
    assert "None" not in log.splitlines()[-1]


def test_a_file_in_place_of_the_folder_is_refused_before_the_first_step(
    sample_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    Path("runs/unsaved_file").mkdir(parents=True)
    Path("runs/unsaved_file/checkpoints").touch()
    with pytest.raises(UserError, match=r"unsaved_file/checkpoints is not a writable folder"):
        run_here(training_cfg("runs/unsaved_file"))
