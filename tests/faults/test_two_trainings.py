"""Two runs with one OUTPUT_DIR at once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.engine.processes import setup
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.output_lock import LOCK_NAME, TEST_LOCK_NAME, output_lock
from slowfast.engine.processes.setup import lock_for_test, prepared, write_config
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
                pytest.raises(UserError, match="belongs to another training run"),
                prepared(cfg, ALONE),
            ):
                pass
            if failure is not None:
                raise failure
    except (ZeroDivisionError, SystemExit):
        pass
    assert not (tmp_path / LOCK_NAME).exists()


@pytest.fixture
def test_cfg(tmp_path: Path) -> CfgNode:
    """A test without a training run."""
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.TRAIN.ENABLE = str(tmp_path), False
    return cfg


def test_the_second_of_two_tests_is_refused(tmp_path: Path, test_cfg: CfgNode) -> None:
    with prepared(test_cfg, ALONE):
        before = (tmp_path / "log.txt").read_text()
        with (
            pytest.raises(UserError, match="belongs to another test, process"),
            prepared(test_cfg, ALONE),
        ):
            pass
        assert (tmp_path / "log.txt").read_text() == before
        assert not (tmp_path / LOCK_NAME).exists()
    assert not (tmp_path / TEST_LOCK_NAME).exists()


def test_a_test_next_to_a_training_leaves_its_files(tmp_path: Path, test_cfg: CfgNode) -> None:
    with output_lock(tmp_path) as lock:
        (tmp_path / "log.txt").write_text("of the training\n")
        with prepared(test_cfg, ALONE):
            pass
        assert (tmp_path / "log.txt").read_text() == "of the training\n"
        assert not (tmp_path / "config.yaml").exists()
        assert f"next to the training of {lock.holder}" in (tmp_path / "test_log.txt").read_text()
    with prepared(test_cfg, ALONE):
        pass
    assert (tmp_path / "config.yaml").exists()
    assert "of the training\n[" in (tmp_path / "log.txt").read_text()


def test_the_test_of_a_training_waits_for_another_one(
    tmp_path: Path, test_cfg: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ExitStack()
    other.enter_context(output_lock(tmp_path, TEST_LOCK_NAME))
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            other.close()

    monkeypatch.setattr(setup.time, "sleep", wait)
    with lock_for_test(test_cfg):
        assert len(waits) == 2
        assert (tmp_path / TEST_LOCK_NAME).exists()


@pytest.mark.parametrize("name", ["config.yaml", "log.txt", LOCK_NAME, TEST_LOCK_NAME])
def test_a_folder_in_place_of_a_file_is_one_line(
    tmp_path: Path, test_cfg: CfgNode, name: str
) -> None:
    (tmp_path / name).mkdir()
    test_cfg.TRAIN.ENABLE = name == LOCK_NAME
    if name == "config.yaml":
        with pytest.raises(UserError, match=str(tmp_path)):
            write_config(test_cfg)
        return
    with pytest.raises(UserError, match=str(tmp_path)), prepared(test_cfg, ALONE):
        pass


def test_the_second_of_two_processes_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "taken"
    with output_lock(folder) as lock:
        (folder / "config.yaml").write_text("of the first\n")
        args = ("--cfg", EGO_TINY, "NUM_GPUS", 0, "OUTPUT_DIR", folder)
        ended = launch_tool("run_net.py", *args, processes=2, cwd=tmp_path)
        assert ended.returncode != 0
        (line,) = {line for line in ended.stderr.splitlines() if line.startswith("error: ")}
        assert f"OUTPUT_DIR {folder} belongs to another training run, {lock.holder}" in line
        assert {path.name for path in folder.iterdir()} == {LOCK_NAME, "config.yaml"}
        assert (folder / "config.yaml").read_text() == "of the first\n"
