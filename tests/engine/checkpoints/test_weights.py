"""Weights of every format and naming find their place, and every name is accounted for."""

import logging
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from slowfast.engine.checkpoint import (
    LoadReport,
    Need,
    load_checkpoint_file,
    load_test_weights,
    load_weights,
    published_state_dict,
)
from slowfast.engine.checkpoints import formats as checkpoint_formats
from slowfast.engine.checkpoints.weights import inflate_weight
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
            report = load_weights(source, model, need=Need.ALL)
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
        load_weights(tmp_path / "a.safetensors", model, need=Need.ALL)
        assert_same(published_state_dict(model), state)

    def test_what_else_a_checkpoint_holds_is_kept(self, tmp_path: Path) -> None:
        content = {
            "epoch": np.int64(3),
            "model_state": {"w": torch.ones(2)},
            "best": {"top1": np.float64(0.5), "curve": np.arange(3.0)},
        }
        read = load_checkpoint_file(_saved(content, tmp_path / "a.pyth"))
        assert read["epoch"] == 3
        assert read["best"]["top1"] == 0.5
        np.testing.assert_array_equal(read["best"]["curve"], np.arange(3.0))

    def test_half_precision_is_widened(self) -> None:
        model = tiny_model(tiny_cfg(), seed=2)
        state = {name: value.half() for name, value in _state().items()}
        load_weights(state, model, need=Need.ALL)
        name = "s1.pathway0_stem.conv.weight"
        loaded = published_state_dict(model)[name]
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, state[name].float())

    @pytest.mark.parametrize("content", [{"epoch": 3}, {}, {"model_state": 3}, [1, 2], {"a": 1}])
    def test_a_file_without_weights(self, content: Any, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"a\.pyth holds no weights"):
            load_checkpoint_file(_saved(content, tmp_path / "a.pyth"))

    def test_a_missing_file_names_the_key(self) -> None:
        with pytest.raises(UserError, match=r"no checkpoint at none\.pyth.*TRAIN\.CHECK"):
            load_checkpoint_file("none.pyth", key="TRAIN.CHECKPOINT_FILE_PATH")

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
                load_checkpoint_file(path)
            assert "\n" not in str(raised.value)

    def test_a_flipped_bit_in_the_weights(self, tmp_path: Path) -> None:
        """torch.load itself would take it."""
        path = _saved({"w": torch.arange(100.0)}, tmp_path / "a.pyth")
        data = bytearray(path.read_bytes())
        data[data.index(torch.arange(100.0).numpy().tobytes()) + 40] ^= 1
        path.write_bytes(data)
        torch.load(path, weights_only=True)
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint_file(path)

    def test_a_wrong_type_names_the_key(self, tmp_path: Path) -> None:
        torch_file = _saved(_state(), tmp_path / "a.pyth")
        with pytest.raises(UserError, match=r"a\.pyth"):
            load_checkpoint_file(torch_file, "caffe2")
        blobs = tmp_path / "a.pkl"
        blobs.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.ones(2)}}))
        with pytest.raises(UserError, match="CHECKPOINT_TYPE caffe2"):
            load_checkpoint_file(blobs)

    def test_entries_that_are_no_weights_are_left_out(self, tmp_path: Path) -> None:
        odd = {3: torch.ones(1), "step": 4, "w": torch.ones(2)}
        path = _saved({"model_state": odd}, tmp_path / "a.pyth")
        assert_same(load_checkpoint_file(path)["model_state"], {"w": torch.ones(2)})
        blobs = {3: np.ones(1), "o": np.array([None]), "conv1_w": np.ones(2, ">f8"), "lr": 0.1}
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}))
        state = load_checkpoint_file(tmp_path / "a.pkl", "caffe2")["model_state"]
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
            load_checkpoint_file(path)
            load_checkpoint_file(path)
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
            load_checkpoint_file(path)
        assert not mark.exists()
        torch.load(path, weights_only=False)
        assert mark.exists()

    @pytest.mark.parametrize("name", sorted(hostile_pickles(Path("mark"))))
    @pytest.mark.parametrize("checkpoint_type", ["pytorch", "caffe2"])
    def test_pickles(self, checkpoint_type: str, name: str, mark: Path, tmp_path: Path) -> None:
        path = tmp_path / "a.pkl"
        path.write_bytes(hostile_pickles(mark)[name])
        with pytest.raises(UserError, match=r"a\.pkl"):
            load_checkpoint_file(path, checkpoint_type)
        assert not mark.exists()

    def test_numpy_types_are_never_built_by_numpy(self, tmp_path: Path) -> None:
        """Raw bytes that pose as objects would be pointers of the file's choice."""
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
            load_checkpoint_file(path)

    def test_functions_of_numpy_are_refused(self, tmp_path: Path) -> None:
        path = _saved({"w": Call(np.load, "a.npy")}, tmp_path / "a.pyth")
        with pytest.raises(UserError, match="refused"):
            load_checkpoint_file(path)


class TestReport:
    def test_every_name_is_in_one_place(self) -> None:
        state = _state()
        del state["s3.pathway0_res1.branch2.b.weight"]
        state["s2.pathway0_res0.branch2.a.weight"] = torch.ones(1, 2, 3, 1, 1)
        state["s1_t.pathway0_stem.conv.weight"] = torch.ones(1)
        model = tiny_model(tiny_cfg(), seed=2)
        before = copied(published_state_dict(model))
        report = load_weights(state, model)
        assert report.missing == ["s3.pathway0_res1.branch2.b.weight"]
        assert report.unexpected == ["s1_t.pathway0_stem.conv.weight"]
        ((name, shapes),) = report.mismatched.items()
        assert name == "s2.pathway0_res0.branch2.a.weight"
        assert shapes.file == (1, 2, 3, 1, 1)
        assert shapes.model == tuple(before[name].shape)
        assert report.loaded == [n for n in before if n not in (*report.missing, name)]
        after = published_state_dict(model)
        for name in before:
            expected = state if name in report.loaded else before
            assert torch.equal(after[name], expected[name]), name

    def test_the_summary_counts_and_gives_examples(self) -> None:
        report = LoadReport("a.pyth", ["x"] * 5, ["m"], ["u1", "u2", "u3", "u4"], {})
        assert report.summary() == (
            "a.pyth: 5 weights loaded; 1 (m) missing, which keep their initial values; "
            "4 (u1, u2, u3, ...) that the model does not need; 0 of another shape: allowed"
        )

    def test_it_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            report = load_weights(_state(), tiny_model(tiny_cfg()))
        assert report.summary() in caplog.text


class TestTestWeights:
    """`load_test_weights`: a test runs on the whole of the right weights or not at all."""

    @staticmethod
    def load(content: Any, tmp_path: Path, section: str = "TEST", **overrides: object) -> State:
        path = tmp_path / "a.pyth"
        if content is not None:
            torch.save(content, path)
        cfg = tiny_cfg(**{f"{section}__CHECKPOINT_FILE_PATH": str(path), **overrides})
        model = tiny_model(cfg, seed=2)
        before = copied(published_state_dict(model))
        try:
            load_test_weights(model, path, cfg)
        except UserError:
            assert_same(published_state_dict(model), before)
            raise
        return published_state_dict(model)

    @staticmethod
    def refused(content: Any, tmp_path: Path, **overrides: object) -> str:
        with pytest.raises(UserError) as raised:
            TestTestWeights.load(content, tmp_path, **overrides)
        assert "\n" not in str(raised.value)
        assert "a.pyth" in str(raised.value)
        return str(raised.value)

    def test_the_exo_half_of_the_file_is_ignored_and_counted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        dual = _state(name="EgoExoSlowFast")
        with caplog.at_level(logging.INFO):
            ours = self.load(dual, tmp_path)
        assert_same(ours, {name: dual[name] for name in ours})
        extra = [name for name in dual if name not in ours]
        assert f"{len(extra)} ({', '.join(extra[:3])}, ...) that the model does not" in caplog.text

    @pytest.mark.parametrize(
        "name",
        ["s1.pathway1_stem.conv.weight", "s5.pathway0_res2.branch2.c_bn.running_var"],
    )
    def test_a_missing_backbone_weight(self, name: str, tmp_path: Path) -> None:
        state = _state()
        del state[name]
        assert name in self.refused(state, tmp_path)

    def test_a_missing_head(self, tmp_path: Path) -> None:
        state = {name: value for name, value in _state().items() if "head" not in name}
        assert "headepic100.projections.0.weight" in self.refused(state, tmp_path)

    def test_half_a_head(self, tmp_path: Path) -> None:
        state = _state()
        del state["headepic100.projections.1.bias"]
        assert "headepic100.projections.1.bias" in self.refused(state, tmp_path)

    @pytest.mark.parametrize("section", ["TEST", "TRAIN"])
    @pytest.mark.parametrize("head", ["headepic", "head"])
    def test_another_head_needs_its_key(self, head: str, section: str, tmp_path: Path) -> None:
        state = _state(TASK=head.removeprefix("head"))
        message = self.refused(state, tmp_path, section=section)
        assert f"set {section}.CHECKPOINT_HEAD {head}" in message
        key = f"{section}__CHECKPOINT_HEAD"
        ours = self.load(state, tmp_path, section, **{key: head})
        for task in (0, 1):
            for leaf in ("weight", "bias"):
                name = f"projections.{task}.{leaf}"
                assert torch.equal(ours[f"headepic100.{name}"], state[f"{head}.{name}"])

    def test_a_head_that_is_not_there(self, tmp_path: Path) -> None:
        message = self.refused(_state(), tmp_path, TEST__CHECKPOINT_HEAD="headepic55")
        assert "TEST.CHECKPOINT_HEAD headepic55" in message
        assert "headepic100" in message

    def test_a_named_head_takes_the_place_of_its_namesake(self, tmp_path: Path) -> None:
        state = _state()
        other = {k.replace("headepic100", "headx"): v + 5 for k, v in state.items() if "head" in k}
        ours = self.load({**state, **other}, tmp_path, TEST__CHECKPOINT_HEAD="headx")
        name = "projections.0.weight"
        assert torch.equal(ours[f"headepic100.{name}"], state[f"headepic100.{name}"] + 5)

    def test_auxiliary_heads_of_ego_exo_are_ignored(self, tmp_path: Path) -> None:
        state = _state()
        state["handobjhead.projections.0.weight"] = torch.ones(3, 8)
        state["headobjhead.net.0.weight"] = torch.ones(3, 8)
        ours = self.load(state, tmp_path)
        assert_same(ours, {name: state[name] for name in ours})
        without = {k: v for k, v in state.items() if not k.startswith("headepic100")}
        assert "CHECKPOINT_HEAD" not in self.refused(without, tmp_path)

    def test_other_class_counts_are_named(self, tmp_path: Path) -> None:
        state = _state(MODEL__NUM_CLASSES_LIST=[5, 9])
        message = self.refused(state, tmp_path)
        assert "headepic100 has [5, 9] classes where the configuration has [5, 7]" in message
        assert "MODEL.NUM_CLASSES_LIST" in message

    def test_other_class_counts_of_the_exo_model(self, tmp_path: Path) -> None:
        state = _state(name="ExoSlowFast", EXO__NUM_CLASSES_LIST=[4, 2])
        message = self.refused(state, tmp_path, name="ExoSlowFast")
        assert "readout has [4, 2] classes where the configuration has [4, 6]" in message
        assert "EXO.NUM_CLASSES_LIST" in message

    def test_another_depth_is_named_both_ways(self, tmp_path: Path) -> None:
        r101 = {
            "RESNET__DEPTH": 101,
            "RESNET__NUM_BLOCK_TEMP_KERNEL": [[3, 3], [4, 4], [6, 6], [3, 3]],
        }
        message = self.refused(_state(), tmp_path, **r101)
        assert "looks like RESNET.DEPTH 50, the configuration has 101" in message
        # All weights of the smaller model are in the larger one, in the same shapes.
        message = self.refused(_state(**r101), tmp_path)
        assert "looks like RESNET.DEPTH 101, the configuration has 50" in message

    def test_another_fusion_kernel(self, tmp_path: Path) -> None:
        message = self.refused(_state(SLOWFAST__FUSION_KERNEL_SZ=7), tmp_path)
        assert "s1_fuse.conv_f2s.weight" in message

    def test_a_file_of_something_else(self, tmp_path: Path) -> None:
        message = self.refused({"encoder.weight": torch.ones(3)}, tmp_path)
        assert "encoder.weight" in message

    def test_the_exo_model_takes_the_exo_half_of_a_dual_file(self, tmp_path: Path) -> None:
        dual = _state(name="EgoExoSlowFast")
        ours = self.load(dual, tmp_path, name="ExoSlowFast")
        for name, value in ours.items():
            stage, _, rest = name.partition(".")
            there = f"head_lemma.{rest}" if stage == "readout" else f"{stage}_t.{rest}"
            assert torch.equal(value, dual[there]), name

    def test_the_dual_model_takes_a_whole_file_only(self, tmp_path: Path) -> None:
        dual = _state(name="EgoExoSlowFast")
        assert_same(self.load(dual, tmp_path, name="EgoExoSlowFast"), dual)
        assert "_t." in self.refused(_state(), tmp_path, name="EgoExoSlowFast")

    def test_the_type_is_that_of_the_section_that_names_the_file(self, tmp_path: Path) -> None:
        torch.save(_state(), tmp_path / "a.pyth")
        # The path is TEST's, so that TRAIN's type does not count.
        self.load(None, tmp_path, TRAIN__CHECKPOINT_TYPE="caffe2")
        with pytest.raises(UserError, match=r"a\.pyth"):
            self.load(None, tmp_path, "TRAIN", TRAIN__CHECKPOINT_TYPE="caffe2")


class TestInflation:
    def test_the_rule(self) -> None:
        weight = torch.randn(2, 3, 1, 1)
        inflated = inflate_weight(weight, 5)
        assert inflated.shape == (2, 3, 5, 1, 1)
        for frame in range(5):
            assert torch.equal(inflated[:, :, frame], weight / 5)

    def test_a_still_clip_gives_the_same_features(self) -> None:
        weight, picture = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 8, 8)
        flat = torch.nn.functional.conv2d(picture, weight)
        clip = picture[:, :, None].expand(-1, -1, 5, -1, -1)
        deep = torch.nn.functional.conv3d(clip, inflate_weight(weight, 5))
        # float32 rounding of a sum over five frames
        torch.testing.assert_close(deep[:, :, 0], flat, rtol=1e-5, atol=1e-5)

    def test_flat_weights_of_a_whole_model(self) -> None:
        state = _state()
        flat = {k: v.sum(2) if v.ndim == 5 else v for k, v in state.items()}
        model = tiny_model(tiny_cfg(), seed=2)
        report = load_weights(flat, model, inflate=True, need=Need.ALL)
        assert not report.mismatched
        name = "s4.pathway1_res0.branch2.a.weight"
        frames = state[name].shape[2]
        assert frames == 3
        for frame in range(frames):
            assert torch.equal(published_state_dict(model)[name][:, :, frame], flat[name] / frames)

    def test_without_the_key_flat_weights_do_not_fit(self) -> None:
        flat: Mapping[str, Tensor] = {
            k: v.sum(2) if v.ndim == 5 else v for k, v in _state().items()
        }
        with pytest.raises(UserError, match="another shape"):
            load_weights(flat, tiny_model(tiny_cfg()), need=Need.BACKBONE)
