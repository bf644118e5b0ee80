"""Weights of a file and a model are matched by name, and every name is accounted for."""

import logging
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from slowfast.engine.checkpoint import LoadReport, Required, load_weights, published_state_dict
from slowfast.engine.checkpoints.match import inflate_weight
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import copied, tiny_cfg, tiny_model

State = dict[str, Tensor]


def _state(seed: int = 1, **overrides: object) -> State:
    return copied(published_state_dict(tiny_model(tiny_cfg(**overrides), seed)))


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
            "4 (u1, u2, u3, ...) that the model does not need; 0 of another shape"
        )

    def test_it_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            report = load_weights(_state(), tiny_model(tiny_cfg()))
        assert report.summary() in caplog.text


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
        report = load_weights(flat, model, inflate=True, required=Required.ALL)
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
            load_weights(flat, tiny_model(tiny_cfg()), required=Required.BACKBONE)
