"""Weights are sorted into parts once; all code asks `Weights` about a part."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from slowfast.engine.checkpoint import (
    load_initial_weights,
    load_test_weights,
    load_training_state,
    published_state_dict,
    save_checkpoint,
)
from slowfast.engine.checkpoints import formats
from slowfast.engine.checkpoints import weights as weights_module
from slowfast.engine.checkpoints.weights import Part, Weights, part_of
from slowfast.engine.solver import build_optimizer
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import tiny_cfg, tiny_model


def _weights(name: str, **overrides: object) -> Weights:
    return Weights.of_model(tiny_model(tiny_cfg(name, **overrides)))


@pytest.mark.parametrize(
    ("name", "part", "is_exo"),
    [
        ("s3_fuse.conv_f2s.weight", Part("stage", "s3_fuse"), False),
        ("s3_fuse_t.conv_f2s.weight", Part("stage", "s3_fuse_t"), True),
        ("headepic100.projections.1.bias", Part("head", "headepic100"), False),
        ("head.projection.weight", Part("head", "head"), False),
        ("head_lemma.projections.0.weight", Part("head", "head_lemma"), True),
        ("readout.projections.0.weight", Part("head", "readout"), False),
        # Heads of tasks that are called my-task and x_t.
        ("headmy-task.projections.0.weight", Part("head", "headmy-task"), False),
        ("headx_t.projections.0.weight", Part("head", "headx_t"), False),
        (
            "global_con_head.fpv_global_proj.weight",
            Part("projection", "global_con_head.fpv_global_proj"),
            False,
        ),
        (
            "global_con_head.tpv_noun_proj.bias",
            Part("projection", "global_con_head.tpv_noun_proj"),
            True,
        ),
        ("headobjhead.net.0.weight", Part("stage", "headobjhead"), False),
        ("w", Part("stage", "w"), False),
    ],
)
def test_part_of(name: str, part: Part, is_exo: bool) -> None:
    assert part_of(name) == part
    assert part.is_exo == is_exo


def test_every_weight_of_a_dual_model_is_in_one_half() -> None:
    dual = _weights("EgoExoSlowFast")
    assert sorted([*dual.ego.tensors, *dual.exo.tensors]) == sorted(dual.tensors)
    assert (dual.heads, dual.ego.heads, dual.exo.heads) == (
        ["headepic100", "head_lemma"],
        ["headepic100"],
        ["head_lemma"],
    )
    assert dual.class_counts("headepic100") == [5, 7]
    assert dual.class_counts("head_lemma") == [4, 6]
    for half in (dual.ego, dual.exo):
        assert all(tensor is dual.tensors[name] for name, tensor in half.tensors.items())
        assert half.parts == {name: dual.parts[name] for name in half.tensors}


def test_the_ego_recognizer_has_the_names_of_the_model_that_is_tested() -> None:
    dual, ego = _weights("EgoExoSlowFast"), _weights("MultiTaskSlowFast")
    assert list(dual.ego_recognizer.tensors) == list(ego.tensors)
    assert (dual.has_exo_half, ego.has_exo_half, dual.ego.has_exo_half) == (True, False, False)


def test_the_exo_half_under_the_names_of_each_model() -> None:
    dual, exo = _weights("EgoExoSlowFast"), _weights("ExoSlowFast")
    assert dual.as_exo_only().parts == exo.parts
    without_projection = [name for name in dual.exo.tensors if "global_con_head" not in name]
    assert list(exo.as_exo_half().tensors) == without_projection
    assert dual.as_exo_half().parts == dual.exo.parts
    for weights in (dual.as_exo_only(), exo.as_exo_half()):
        assert weights.parts == {name: part_of(name) for name in weights.tensors}


def test_a_head_under_another_name() -> None:
    names = ("heada.projections.0.weight", "s1.w", "headb.projections.0.weight")
    weights = Weights.named("a.pyth", {name: torch.ones(1) for name in names})
    assert weights.with_head("heada", "heada", "") is weights
    assert list(weights.with_head("heada", "headc", "").tensors) == [
        "headc.projections.0.weight",
        "s1.w",
        "headb.projections.0.weight",
    ]
    replaced = weights.with_head("heada", "headb", "")
    assert list(replaced.tensors) == ["headb.projections.0.weight", "s1.w"]
    assert replaced.tensors["headb.projections.0.weight"] is weights.tensors[names[0]]
    with pytest.raises(UserError, match=r"--head x: a\.pyth has no head headx, but heada, headb"):
        weights.with_head("headx", "headb", "--head x")


class TestOnce:
    """A load reads its file once, and sorts each name of the file and of the model once."""

    @pytest.fixture
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
        """Counts of how often each name was sorted, and each file read."""
        seen: Counter[str] = Counter()

        def counting(name: str) -> Part:
            seen[name] += 1
            return part_of(name)

        read = formats._read_torch

        def reading(path: Path) -> dict[str, object]:
            seen[str(path)] += 1
            return read(path)

        monkeypatch.setattr(weights_module, "part_of", counting)
        monkeypatch.setattr(formats, "_read_torch", reading)
        return seen

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        cfg = tiny_cfg("EgoExoSlowFast")
        model = tiny_model(cfg)
        return save_checkpoint(
            tmp_path / "dual.pyth",
            model=model,
            optimizer=build_optimizer(model, cfg),
            epoch=0,
            cfg_text=cfg.dump(),
            extra={},
        )

    @staticmethod
    def check(seen: Counter[str], path: Path, model: torch.nn.Module) -> None:
        assert seen.pop(str(path)) == 1
        stored = torch.load(path, weights_only=True)["model_state"]
        assert seen == Counter([*stored, *published_state_dict(model)])

    def test_start_of_a_training(self, seen: Counter[str], path: Path) -> None:
        cfg = tiny_cfg("EgoExoSlowFast", TRAIN__CHECKPOINT_FILE_PATH=str(path))
        model = tiny_model(cfg)
        load_initial_weights(model, cfg)
        self.check(seen, path, model)

    @pytest.mark.parametrize("name", ["MultiTaskSlowFast", "ExoSlowFast", "EgoExoSlowFast"])
    def test_test(self, name: str, seen: Counter[str], path: Path) -> None:
        cfg = tiny_cfg(name)
        model = tiny_model(cfg)
        load_test_weights(model, path, cfg)
        self.check(seen, path, model)

    def test_resume(self, seen: Counter[str], path: Path) -> None:
        cfg = tiny_cfg("EgoExoSlowFast")
        model = tiny_model(cfg)
        load_training_state(path, model, build_optimizer(model, cfg), cfg)
        self.check(seen, path, model)
