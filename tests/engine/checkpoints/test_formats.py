"""Weights of every format and naming are read, and a hostile file runs nothing."""

import logging
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slowfast.engine.checkpoint import (
    Required,
    load_weights,
    published_state_dict,
    read_checkpoint,
)
from slowfast.engine.checkpoints import formats as checkpoint_formats
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model
from tests.utils.hostile import Call, hostile_pickles, touching

State = dict[str, Tensor]


def _state(seed: int = 1, **overrides: object) -> State:
    return copied(published_state_dict(tiny_model(tiny_cfg(**overrides), seed)))


def _saved(content: Any, path: Path, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


def _sub_batch_norm(state: State) -> State:
    """The names of a model whose batch norms are split in two."""
    out = {}
    for name, value in state.items():
        module, _, leaf = name.rpartition(".")
        if module.endswith("bn") and leaf in ("running_mean", "running_var", "num_batches_tracked"):
            out[f"{module}.bn.{leaf}"] = value
            out[f"{module}.split_bn.{leaf}"] = value.repeat(2) if value.ndim else value
        else:
            out[name] = value
    return out


CONTAINERS: dict[str, Callable[[State], Any]] = {
    "published": lambda state: {"epoch": 3, "model_state": OrderedDict(state), "cfg": "A: 1"},
    "state_dict": lambda state: {"state_dict": state, "meta": {"epoch": 3}},
    "bare": lambda state: state,
    "module prefix": lambda state: {"model_state": {f"module.{k}": v for k, v in state.items()}},
    "sub-batch-norm": lambda state: {"model_state": _sub_batch_norm(state)},
    "no counters": lambda state: {
        k: v for k, v in state.items() if not k.endswith("num_batches_tracked")
    },
}


class TestFormats:
    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("name", CONTAINERS)
    def test_pytorch(self, name: str, legacy: bool, tmp_path: Path) -> None:
        state = _state()
        content = CONTAINERS[name](state)
        path = _saved(content, tmp_path / "a.pyth", _use_new_zipfile_serialization=not legacy)
        for source in (path, str(path), content):
            model = tiny_model(tiny_cfg(), seed=2)
            report = load_weights(source, model, required=Required.ALL)
            assert (report.missing, report.unexpected, report.mismatched) == ([], [], {})
            ours = published_state_dict(model)
            if name == "no counters":
                ours = {k: v for k, v in ours.items() if k in state and "num_batches" not in k}
                state = {k: v for k, v in state.items() if k in ours}
            assert_same(ours, state)

    def test_safetensors(self, tmp_path: Path) -> None:
        state = _state()
        save_file(state, tmp_path / "a.safetensors")
        model = tiny_model(tiny_cfg(), seed=2)
        load_weights(tmp_path / "a.safetensors", model, required=Required.ALL)
        assert_same(published_state_dict(model), state)

    def test_what_else_a_checkpoint_holds_is_kept(self, tmp_path: Path) -> None:
        content = {
            "epoch": np.int64(3),
            "model_state": {"w": torch.ones(2)},
            "best": {"top1": np.float64(0.5), "curve": np.arange(3.0)},
        }
        read = read_checkpoint(_saved(content, tmp_path / "a.pyth"))
        assert read.epoch == 3
        assert set(read.extra) == {"best"}
        assert read.extra["best"]["top1"] == 0.5
        np.testing.assert_array_equal(read.extra["best"]["curve"], np.arange(3.0))

    def test_half_precision_is_widened(self) -> None:
        model = tiny_model(tiny_cfg(), seed=2)
        state = {name: value.half() for name, value in _state().items()}
        load_weights(state, model, required=Required.ALL)
        name = "s1.pathway0_stem.conv.weight"
        loaded = published_state_dict(model)[name]
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, state[name].float())

    @pytest.mark.parametrize("content", [{"epoch": 3}, {}, {"model_state": 3}, [1, 2], {"a": 1}])
    def test_a_file_without_weights(self, content: Any, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"a\.pyth holds no weights"):
            read_checkpoint(_saved(content, tmp_path / "a.pyth"))

    def test_a_missing_file_names_the_key(self) -> None:
        with pytest.raises(UserError, match=r"no checkpoint at none\.pyth.*TRAIN\.CHECK"):
            read_checkpoint("none.pyth", key="TRAIN.CHECKPOINT_FILE_PATH")

    @pytest.mark.parametrize("suffix", ["pyth", "safetensors"])
    def test_damaged_files(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"a.{suffix}"
        if suffix == "pyth":
            torch.save(_state(), path)
        else:
            save_file(_state(), path)
        data = path.read_bytes()
        for content in (b"", b"no checkpoint", data[: len(data) // 2], data[:10], data[:-1]):
            path.write_bytes(content)
            with pytest.raises(UserError, match=path.name) as raised:
                read_checkpoint(path)
            assert "\n" not in str(raised.value)

    def test_a_flipped_bit_in_the_weights(self, tmp_path: Path) -> None:
        """torch.load itself would accept it."""
        path = _saved({"w": torch.arange(100.0)}, tmp_path / "a.pyth")
        data = bytearray(path.read_bytes())
        data[data.index(torch.arange(100.0).numpy().tobytes()) + 40] ^= 1
        path.write_bytes(data)
        torch.load(path, weights_only=True)
        with pytest.raises(UserError, match="damaged"):
            read_checkpoint(path)

    def test_a_wrong_type_names_the_key(self, tmp_path: Path) -> None:
        torch_file = _saved(_state(), tmp_path / "a.pyth")
        with pytest.raises(UserError, match=r"a\.pyth"):
            read_checkpoint(torch_file, "caffe2")
        blobs = tmp_path / "a.pkl"
        blobs.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.ones(2)}}))
        with pytest.raises(UserError, match="CHECKPOINT_TYPE caffe2"):
            read_checkpoint(blobs)

    def test_entries_that_are_no_weights_are_left_out(self, tmp_path: Path) -> None:
        odd = {3: torch.ones(1), "step": 4, "w": torch.ones(2)}
        path = _saved({"model_state": odd}, tmp_path / "a.pyth")
        assert_same(read_checkpoint(path).weights.tensors, {"w": torch.ones(2)})
        blobs = {3: np.ones(1), "o": np.array([None]), "conv1_w": np.ones(2, ">f8"), "lr": 0.1}
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}))
        state = read_checkpoint(tmp_path / "a.pkl", "caffe2").weights.tensors
        assert_same(state, {"s1.pathway0_stem.conv.weight": torch.ones(2)})

    @pytest.mark.parametrize(("version", "warns"), [("2.9.1", 1), ("2.10.0", 0), ("3.0.0a0", 0)])
    def test_old_torch_is_warned_about_once(
        self,
        version: str,
        warns: int,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        path = _saved(_state(), tmp_path / "a.pyth")
        checkpoint_formats._warn_of_old_torch.cache_clear()
        monkeypatch.setattr(torch, "__version__", version)
        with caplog.at_level(logging.WARNING):
            read_checkpoint(path)
            read_checkpoint(path)
        checkpoint_formats._warn_of_old_torch.cache_clear()
        assert ["torch 2.10" in record.getMessage() for record in caplog.records] == [True] * warns


class TestHostileFiles:
    @pytest.fixture
    def mark(self, tmp_path: Path) -> Path:
        return tmp_path / "the-payload-ran"

    @pytest.mark.parametrize("legacy", [False, True])
    @pytest.mark.parametrize("place", ["epoch", "model_state", "whole"])
    def test_pyth(self, place: str, legacy: bool, mark: Path, tmp_path: Path) -> None:
        payload: Any = touching(mark)
        content = {"epoch": 1, "model_state": {"w": torch.ones(1)}, "optimizer_state": {}}
        content = payload if place == "whole" else {**content, place: payload}
        path = _saved(content, tmp_path / "a.pyth", _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UserError, match=r"a\.pyth is refused.*posix\.system.*safetensors"):
            read_checkpoint(path)
        assert not mark.exists()
        torch.load(path, weights_only=False)
        assert mark.exists()

    @pytest.mark.parametrize("name", sorted(hostile_pickles(Path("mark"))))
    @pytest.mark.parametrize("checkpoint_type", ["pytorch", "caffe2"])
    def test_pickles(self, checkpoint_type: str, name: str, mark: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.pkl"
        path.write_bytes(hostile_pickles(mark)[name])
        with pytest.raises(UserError, match=r"a\.pkl"):
            read_checkpoint(path, checkpoint_type)
        assert not mark.exists()

    def test_numpy_types_are_never_built_by_numpy(self, tmp_path: Path) -> None:
        """Raw bytes read as objects would be pointers chosen by the file."""
        honest = _saved({"w": torch.ones(1), "epoch": np.int64(3)}, tmp_path / "honest.pyth")
        path = tmp_path / "a.pyth"
        with zipfile.ZipFile(honest) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                if name.endswith("data.pkl"):
                    assert b"i8" in data
                    data = data.replace(b"i8", b"O8")
                target.writestr(name, data)
        with pytest.raises(UserError, match=r"a\.pyth.*object array"):
            read_checkpoint(path)

    def test_functions_of_numpy_are_refused(self, tmp_path: Path) -> None:
        path = _saved({"w": Call(np.load, "a.npy")}, tmp_path / "a.pyth")
        with pytest.raises(UserError, match="refused"):
            read_checkpoint(path)
