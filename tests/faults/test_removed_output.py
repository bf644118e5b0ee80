"""OUTPUT_DIR is removed during a training run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from slowfast.engine.step.update import Update
from slowfast.utils.logging import JSON_PREFIX
from tests.faults.test_exact_resume import scalar_steps
from tests.faults.trainings import STEPS, run_here, training_cfg


def test_it_is_noticed_and_written_again(
    sample_home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(sample_home)
    output = Path("runs/removed")
    call = Update.__call__

    def removing(self: Update, batch: Any, epoch: int, iteration: int) -> Any:
        if (epoch, iteration) == (1, 1):
            shutil.rmtree(output)
        return call(self, batch, epoch, iteration)

    monkeypatch.setattr(Update, "__call__", removing)
    assert run_here(training_cfg(str(output), "TENSORBOARD.ENABLE", True)) == 0
    assert capfd.readouterr().err.count("was removed during training") == 1
    names = {path.name for path in output.rglob("*") if path.is_file()}
    assert {"config.yaml", "checkpoint_epoch_00002.pyth", ".checkpoints.json"} < names
    log = (output / "log.txt").read_text()
    assert "was removed during training" in log
    assert log.count(f'{JSON_PREFIX}{{"_type": "train_iter"') == 2
    assert scalar_steps(output)["train/loss"] == [STEPS + 3, 2 * STEPS]
