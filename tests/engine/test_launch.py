"""How processes come to be, and what a machine without the devices asked for answers."""

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.engine.launch import Place, run_processes
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
