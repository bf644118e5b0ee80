"""Weights saved by other training loops: wrappers, other keys, safetensors by content."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode
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
    [
        *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."),
        *("model.", "net.", "ema.", "ema.module.", "ema_model.", "module.ema_model."),
    ],
)
def test_wrappers_are_taken_off(tmp_path: Path, state: dict, prefix: str) -> None:
    torch.save({"state_dict": {prefix + k: v for k, v in state.items()}}, tmp_path / "w.pyth")
    report = load_weights(tmp_path / "w.pyth", tiny_model(tiny_cfg()), required=Required.ALL)
    assert not report.missing
    assert not report.unexpected
    assert report.unwrapped == len(state)
    assert report.summary().endswith(f"; {len(state)} saved inside a wrapper")


def test_compiled_and_sharded_parts(tmp_path: Path, state: dict) -> None:
    inner = {k.replace("s3.", "s3._orig_mod."): v for k, v in state.items()}
    inner = {k.replace("s4.", "s4._fsdp_wrapped_module."): v for k, v in inner.items()}
    torch.save(inner, tmp_path / "w.pyth")
    assert read_checkpoint(tmp_path / "w.pyth").weights.tensors.keys() == state.keys()


def test_one_weight_under_two_names(tmp_path: Path) -> None:
    """Equal values are read once; different values are an error, except for a moving average."""
    weight, other = torch.ones(2), torch.zeros(2)
    path = tmp_path / "w.pyth"
    torch.save({"model.s1.w": weight, "net.s1.w": weight.clone()}, path)
    assert list(read_checkpoint(path).weights.tensors) == ["s1.w"]
    torch.save({"ema_model.s1.w": other, "model.s1.w": weight}, path)
    assert torch.equal(read_checkpoint(path).weights.tensors["s1.w"], weight)
    torch.save({"module.s1.w": weight, "s1.w": other}, path)
    with pytest.raises(UserError, match=r"s1\.w twice, as module\.s1\.w and s1\.w; keep one"):
        read_checkpoint(path)


def test_objects_beside_the_weights_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = CfgNode({"A": CfgNode({"B": [1]}), "C": "x"})
    content = {
        "epoch": 3,
        "state_dict": {"s1.w": torch.ones(2)},
        "cfg": cfg,
        "args": argparse.Namespace(lr=0.1, out=Path("a")),
        "nested": {"of": [1, argparse.Namespace()]},
    }
    torch.save(content, tmp_path / "w.pyth")
    with caplog.at_level("INFO", logger="slowfast"):
        checkpoint = read_checkpoint(tmp_path / "w.pyth")
    assert list(checkpoint.weights.tensors) == ["s1.w"]
    assert checkpoint.epoch == 3
    assert set(checkpoint.other) == {"epoch"}
    assert "cfg (fvcore.common.config.CfgNode), args (argparse.Namespace)" in caplog.text
    torch.save({"model": argparse.Namespace()}, tmp_path / "w.pyth")
    with pytest.raises(UserError, match="holds no weights"):
        read_checkpoint(tmp_path / "w.pyth")
    torch.save(argparse.Namespace(), tmp_path / "w.pyth")
    with pytest.raises(UserError, match=r"is refused: weights do not need argparse\.Namespace"):
        read_checkpoint(tmp_path / "w.pyth")


def test_keys_inside_keys(tmp_path: Path) -> None:
    torch.save({"ema": {"state_dict": {"s1.w": torch.ones(2)}, "decay": 0.9}}, tmp_path / "w.pt")
    assert list(read_checkpoint(tmp_path / "w.pt").weights.tensors) == ["s1.w"]


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
    for bad in ({"x": "../secret"}, ["a.safetensors"], {"x": path.name}, {}, {"x": ["a"]}):
        path.write_text(json.dumps({"weight_map": bad}))
        with pytest.raises(UserError, match="names no files of weights"):
            read_checkpoint(path)
    path.write_text(json.dumps({"weight_map": {"s1.none": "a.safetensors"}}))
    with pytest.raises(UserError, match=r"lists s1\.none, which a\.safetensors does not have"):
        read_checkpoint(path)
    path.write_text(json.dumps({"weight_map": {"s1.none": "c.safetensors"}}))
    with pytest.raises(UserError, match=r"c\.safetensors, a part of .*, does not exist"):
        read_checkpoint(path)
