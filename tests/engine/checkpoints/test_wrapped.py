"""Weights as training loops of others leave them: wrappers, other keys, safetensors by content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from slowfast.engine.checkpoint import load_weights
from slowfast.engine.checkpoints.formats import read_checkpoint
from slowfast.engine.checkpoints.report import Required
from slowfast.models.published_names import published_state_dict
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import tiny_cfg, tiny_model


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in published_state_dict(tiny_model(tiny_cfg())).items()}


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model."],
)
def test_wrappers_are_taken_off(tmp_path: Path, state: dict, prefix: str) -> None:
    torch.save({"state_dict": {prefix + k: v for k, v in state.items()}}, tmp_path / "w.pyth")
    report = load_weights(tmp_path / "w.pyth", tiny_model(tiny_cfg()), required=Required.ALL)
    assert not report.missing
    assert not report.unexpected


@pytest.mark.parametrize("key", ["model", "model_state_dict", "net", "ema", "state_dict"])
def test_other_keys(tmp_path: Path, state: dict, key: str) -> None:
    torch.save({key: state, "epoch": 3}, tmp_path / "w.pt")
    checkpoint = read_checkpoint(tmp_path / "w.pt")
    assert checkpoint.weights.tensors.keys() == state.keys()
    assert checkpoint.epoch == 3


def test_safetensors_under_another_name(tmp_path: Path, state: dict) -> None:
    (tmp_path / "w.pth").write_bytes(save({k: v.contiguous() for k, v in state.items()}))
    found = read_checkpoint(tmp_path / "w.pth").weights.tensors
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_sharded_weights(tmp_path: Path, state: dict) -> None:
    names = sorted(state)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, kept in parts.items():
        (tmp_path / file).write_bytes(save({name: state[name].contiguous() for name in kept}))
    index = {"weight_map": {name: file for file, kept in parts.items() for name in kept}}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    assert read_checkpoint(path).weights.tensors.keys() == state.keys()
    path.write_text(json.dumps({"weight_map": {"x": "../secret"}}))
    with pytest.raises(UserError, match="names no files of weights"):
        read_checkpoint(path)
