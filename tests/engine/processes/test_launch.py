"""Launch of processes, and the errors of a machine that lacks the requested devices."""

from pathlib import Path

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.engine.processes import launch
from slowfast.engine.processes.launch import ProcessInfo, run_processes
from slowfast.utils.errors import UserError
from slowfast.utils.launcher import unset_empty_variables


@pytest.fixture
def processes(monkeypatch):
    """Processes that `main` was called with, in this process."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    seen: list[ProcessInfo] = []
    return seen


def cpu_cfg(**keys):
    cfg = get_cfg()
    cfg.NUM_GPUS = 0
    for key, value in keys.items():
        cfg[key] = value
    return cfg


def test_cpu_is_one_process(processes):
    run_processes(cpu_cfg(), lambda cfg, process: processes.append(process), "auto")
    assert processes == [ProcessInfo(0, 0, 1, None, torch.device("cpu"))]


def test_launcher_decides(processes, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    run_processes(cpu_cfg(), lambda cfg, process: processes.append(process), "auto")
    assert processes == [ProcessInfo(3, 1, 4, None, torch.device("cpu"))]
    assert processes[0].launched


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_devices(processes):
    cfg = get_cfg()
    cfg.NUM_GPUS = 4
    with pytest.raises(UserError, match=r"NUM_GPUS 4 .* has 0; set NUM_GPUS 0"):
        run_processes(cfg, lambda cfg, process: processes.append(process), "auto")
    assert not processes


def test_shards_need_an_address(processes):
    with pytest.raises(UserError, match="NUM_SHARDS 2 needs --init_method"):
        run_processes(cpu_cfg(NUM_SHARDS=2), lambda cfg, process: processes.append(process), "auto")


def test_shard_without_launcher(processes):
    cfg = cpu_cfg(NUM_SHARDS=2, SHARD_ID=1)
    run_processes(cfg, lambda cfg, process: processes.append(process), "tcp://localhost:29555")
    assert processes == [ProcessInfo(1, 0, 2, "tcp://localhost:29555", torch.device("cpu"))]
    assert not processes[0].launched


def write_process(cfg, process: ProcessInfo) -> None:
    """Write what a child knows of itself into a file named by its rank."""
    if cfg.TASK == "fail" and process.rank == 1:
        raise UserError("only this process saw it")
    has_address = process.init_method is not None
    text = f"{process.local_rank} {process.world_size} {process.device} {has_address}"
    Path(cfg.OUTPUT_DIR, str(process.rank)).write_text(text)


@pytest.fixture
def two_gpus(monkeypatch, tmp_path, processes):
    """A config that starts two processes here, on a machine that is believed to have the GPUs."""
    monkeypatch.setattr(launch, "_check_devices", lambda cfg, processes_here: None)
    cfg = get_cfg()
    cfg.NUM_GPUS = 2
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


def test_processes_are_started_without_a_launcher(two_gpus, tmp_path):
    run_processes(two_gpus, write_process, "auto")
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {"0": "0 2 cuda:0 True", "1": "1 2 cuda:1 True"}


def test_a_childs_mistake_ends_the_command_with_its_status(two_gpus, capfd):
    two_gpus.TASK = "fail"
    with pytest.raises(SystemExit) as ended:
        run_processes(two_gpus, write_process, "auto")
    assert ended.value.code == 2
    assert capfd.readouterr().err.count("error: only this process saw it") == 1


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"])
def test_launcher_variables_hold_numbers(name, monkeypatch):
    for key, value in {"WORLD_SIZE": "1", "RANK": "0", name: "first"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UserError, match=f"{name} is 'first', not a number"):
        run_processes(cpu_cfg(), lambda cfg, process: None, "auto")


def test_a_rank_beyond_the_world_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(UserError, match="RANK 2 and WORLD_SIZE 2"):
        run_processes(cpu_cfg(), lambda cfg, process: None, "auto")


def test_empty_launcher_variables_are_unset(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
    unset_empty_variables()
    seen = []
    run_processes(cpu_cfg(), lambda cfg, process: seen.append(process), "auto")
    assert [(process.rank, process.world_size, process.launched) for process in seen] == [
        (0, 1, False)
    ]
