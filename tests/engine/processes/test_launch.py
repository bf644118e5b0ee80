"""How processes come to be, and what a machine without the devices asked for answers."""

from pathlib import Path

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.engine.processes import launch
from slowfast.engine.processes.launch import Place, run_processes
from slowfast.utils.errors import UserError


@pytest.fixture
def places(monkeypatch):
    """Places that `main` was called with, in this process."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    seen: list[Place] = []
    return seen


def cpu_cfg(**keys):
    cfg = get_cfg()
    cfg.NUM_GPUS = 0
    for key, value in keys.items():
        cfg[key] = value
    return cfg


def test_cpu_is_one_process(places):
    run_processes(cpu_cfg(), lambda cfg, place: places.append(place), "auto")
    assert places == [Place(0, 0, 1, None, torch.device("cpu"))]


def test_launcher_decides(places, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    run_processes(cpu_cfg(), lambda cfg, place: places.append(place), "auto")
    assert places == [Place(3, 1, 4, None, torch.device("cpu"))]
    assert places[0].launched


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_devices(places):
    cfg = get_cfg()
    cfg.NUM_GPUS = 4
    with pytest.raises(UserError, match=r"NUM_GPUS 4 .* has 0; set NUM_GPUS 0"):
        run_processes(cfg, lambda cfg, place: places.append(place), "auto")
    assert not places


def test_shards_need_an_address(places):
    with pytest.raises(UserError, match="NUM_SHARDS 2 needs --init_method"):
        run_processes(cpu_cfg(NUM_SHARDS=2), lambda cfg, place: places.append(place), "auto")


def test_shard_without_launcher(places):
    cfg = cpu_cfg(NUM_SHARDS=2, SHARD_ID=1)
    run_processes(cfg, lambda cfg, place: places.append(place), "tcp://localhost:29555")
    assert places == [Place(1, 0, 2, "tcp://localhost:29555", torch.device("cpu"))]
    assert not places[0].launched


def write_place(cfg, place: Place) -> None:
    """What a child was told, as a file of its rank."""
    if cfg.TASK == "fail" and place.rank == 1:
        raise UserError("only this process saw it")
    told = f"{place.local_rank} {place.world_size} {place.device} {place.init_method is not None}"
    Path(cfg.OUTPUT_DIR, str(place.rank)).write_text(told)


@pytest.fixture
def two_gpus(monkeypatch, tmp_path, places):
    """A config that starts two processes here, on a machine that is believed to have the GPUs."""
    monkeypatch.setattr(launch, "_check_devices", lambda cfg, processes_here: None)
    cfg = get_cfg()
    cfg.NUM_GPUS = 2
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


def test_processes_are_started_without_a_launcher(two_gpus, tmp_path):
    run_processes(two_gpus, write_place, "auto")
    told = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert told == {"0": "0 2 cuda:0 True", "1": "1 2 cuda:1 True"}


def test_a_childs_mistake_ends_the_command_with_its_status(two_gpus, capfd):
    two_gpus.TASK = "fail"
    with pytest.raises(SystemExit) as ended:
        run_processes(two_gpus, write_place, "auto")
    assert ended.value.code == 2
    assert capfd.readouterr().err.count("error: only this process saw it") == 1
