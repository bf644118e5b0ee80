"""tools/convert_checkpoint.py: every readable format in, the same weights out."""

import pickle
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from slowfast.engine.checkpoint import (
    Required,
    load_weights,
    published_state_dict,
    read_checkpoint,
)
from slowfast.engine.checkpoints.convert import convert_checkpoint
from slowfast.engine.checkpoints.files import damage
from slowfast.utils.errors import UserError
from tests.commands import assert_one_line_error, run_tool
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model

SUFFIXES = ["pyth", "safetensors"]


@pytest.fixture
def dual(tmp_path: Path) -> Path:
    state = published_state_dict(tiny_model(tiny_cfg("EgoExoSlowFast")))
    path = tmp_path / "dual.pyth"
    state = {f"module.{name}": value for name, value in state.items()}
    torch.save({"epoch": 4, "model_state": state, "optimizer_state": {}, "cfg": "A: 1"}, path)
    return path


def _state() -> dict[str, Tensor]:
    return copied(published_state_dict(tiny_model(tiny_cfg("EgoExoSlowFast"))))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_weights(suffix: str, dual: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / f"out.{suffix}"
    convert_checkpoint(dual, target)
    read = read_checkpoint(target)
    # safetensors sorts by size of the elements
    assert_same(dict(sorted(read.weights.tensors.items())), dict(sorted(_state().items())))
    if suffix == "pyth":
        assert damage(target) == ""
        assert (read.epoch, read.cfg_text) == (4, "A: 1")
        assert read.optimizer_state is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_ego_half_is_half_the_size_and_all_that_a_test_needs(
    suffix: str, dual: Path, tmp_path: Path
) -> None:
    whole, ego = tmp_path / f"whole.{suffix}", tmp_path / f"ego.{suffix}"
    convert_checkpoint(dual, whole)
    report = convert_checkpoint(dual, ego, ego_only=True)
    assert ego.stat().st_size < 0.55 * whole.stat().st_size
    model = tiny_model(tiny_cfg(), seed=7)
    loaded = load_weights(ego, model, required=Required.ALL)
    assert loaded.unexpected == []
    state = _state()
    assert_same(
        published_state_dict(model), {name: state[name] for name in published_state_dict(model)}
    )
    assert "left out: 660 of the exo backbone, 4 of head head_lemma, 4 of projections" in report


def test_a_head_gets_another_name(dual: Path, tmp_path: Path) -> None:
    for number, head in enumerate(("headmine", "headepic100=headmine")):
        target = tmp_path / f"{number}.pyth"
        convert_checkpoint(dual, target, head=head)
        names = read_checkpoint(target).weights.tensors
        assert "headmine.projections.1.bias" in names
        assert not any(name.startswith("headepic100") for name in names)
        assert "head_lemma.projections.1.bias" in names


def test_a_head_that_is_not_meant(dual: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no head headx, but headepic100"):
        convert_checkpoint(dual, tmp_path / "a.pyth", head="headx=heady")
    two = tmp_path / "two.pyth"
    torch.save({f"{h}.projection.weight": torch.ones(2, 3) for h in ("heada", "headb")}, two)
    with pytest.raises(UserError, match=r"2 heads \(heada, headb\).*OLD=headc"):
        convert_checkpoint(two, tmp_path / "a.pyth", head="headc")


def test_caffe2(tmp_path: Path) -> None:
    source = tmp_path / "a.pkl"
    weight = torch.rand(4, 3, 1, 7, 7)
    source.write_bytes(pickle.dumps({"blobs": {"conv1_w": weight.numpy(), "lr": 0.1}}))
    convert_checkpoint(source, tmp_path / "a.safetensors", checkpoint_type="caffe2")
    state = read_checkpoint(tmp_path / "a.safetensors").weights.tensors
    assert_same(state, {"s1.pathway0_stem.conv.weight": weight})


def _tool(cwd: Path, *args: object) -> subprocess.CompletedProcess[str]:
    return run_tool("convert_checkpoint.py", *args, cwd=cwd)


def test_the_command(dual: Path, tmp_path: Path) -> None:
    ended = _tool(tmp_path, "dual.pyth", "ego.safetensors", "--ego-only", "--head", "headx")
    assert ended.returncode == 0, ended.stderr
    assert "dual.pyth" in ended.stdout
    assert "4 of head headx" in ended.stdout
    again = _tool(tmp_path, "dual.pyth", "ego.safetensors")
    assert_one_line_error(again, "ego.safetensors exists", "--force")
    assert _tool(tmp_path, "dual.pyth", "ego.safetensors", "--force").returncode == 0


def test_the_command_with_bad_input(dual: Path, tmp_path: Path) -> None:
    assert_one_line_error(_tool(tmp_path, "none.pyth", "a.pyth"), "none.pyth")
    assert_one_line_error(_tool(tmp_path, "dual.pyth", "a.onnx"), "a.onnx", ".safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dual.pyth"]
