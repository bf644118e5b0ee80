"""Report of `--dry-run` on a folder that already holds a training run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slowfast.engine.preflight.dry_run import dry_run
from slowfast.engine.processes.output_lock import output_lock
from tests.faults.trainings import training_cfg


def test_a_finished_training_and_a_lock_are_told(
    whole_run: Path, sample_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    cfg = training_cfg(str(whole_run))
    with output_lock(whole_run):
        locked = str(dry_run(cfg))
    assert f"refused while process {os.getpid()} on" in locked
    free = str(dry_run(cfg))
    assert "refused" not in free
    assert "2 epochs done, nothing is left to train" in free
    longer = str(dry_run(training_cfg(str(whole_run), "SOLVER.MAX_EPOCH", 3)))
    assert "2 epochs done\n" in longer
