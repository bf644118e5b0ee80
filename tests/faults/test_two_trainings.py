"""Two runs with one OUTPUT_DIR at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.output_lock import LOCK_NAME, output_lock
from slowfast.engine.processes.setup import prepared
from slowfast.utils.errors import UserError
from tests.commands import EGO_TINY, launch_tool

ALONE = ProcessInfo(0, 0, 1, None, torch.device("cpu"))


@pytest.mark.parametrize("failure", [None, ZeroDivisionError, SystemExit])
def test_a_training_holds_the_lock_until_its_end(
    tmp_path: Path, failure: type[BaseException] | None
) -> None:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path)
    try:
        with prepared(cfg, ALONE):
            with (
                pytest.raises(UserError, match="belongs to another training"),
                prepared(cfg, ALONE),
            ):
                pass
            if failure is not None:
                raise failure
    except (ZeroDivisionError, SystemExit):
        pass
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_test_takes_no_lock(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.TRAIN.ENABLE = str(tmp_path), False
    with prepared(cfg, ALONE):
        assert not (tmp_path / LOCK_NAME).exists()
    with output_lock(tmp_path), prepared(cfg, ALONE):
        pass


def test_the_second_of_two_processes_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    with output_lock(folder) as lock:
        (folder / "config.yaml").write_text("of the first\n")
        args = ("--cfg", EGO_TINY, "NUM_GPUS", 0, "OUTPUT_DIR", folder)
        ended = launch_tool("run_net.py", *args, processes=2, cwd=tmp_path)
        assert ended.returncode != 0
        (line,) = {line for line in ended.stderr.splitlines() if line.startswith("error: ")}
        assert f"OUTPUT_DIR {folder} belongs to another training, {lock.holder}" in line
        assert {path.name for path in folder.iterdir()} == {LOCK_NAME, "config.yaml"}
        assert (folder / "config.yaml").read_text() == "of the first\n"
