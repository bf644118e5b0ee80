"""Weights that a test takes from a file: all weights that its model needs, or an error."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from slowfast.engine.checkpoint import load_test_weights, published_state_dict
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model

State = dict[str, Tensor]


def _state(seed: int = 1, **overrides: object) -> State:
    return copied(published_state_dict(tiny_model(tiny_cfg(**overrides), seed)))


class TestTestWeights:
    """`load_test_weights`: a test runs on all of the right weights, or not at all."""

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
        assert "headepic100 has [5, 9] classes, but the configuration has [5, 7]" in message
        assert "MODEL.NUM_CLASSES_LIST" in message

    def test_other_class_counts_of_the_exo_model(self, tmp_path: Path) -> None:
        state = _state(name="ExoSlowFast", EXO__NUM_CLASSES_LIST=[4, 2])
        message = self.refused(state, tmp_path, name="ExoSlowFast")
        assert "readout has [4, 2] classes, but the configuration has [4, 6]" in message
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
