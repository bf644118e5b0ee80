"""Published names: every weight has one, and the round trip is exact."""

import pytest
import torch
from torch import nn

from slowfast.engine.checkpoint import load_weights
from slowfast.engine.checkpoints.weights import Weights, part_of
from slowfast.models.published_names import (
    published_parameter_order,
    published_state_dict,
    to_published,
)

NAMES = ["SlowFast", "MultiTaskSlowFast", "ExoSlowFast", "EgoExoSlowFast"]


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_a_name_of_its_own(make_model, name):
    model = make_model(name, TASK="epic55")
    names = to_published(model)
    assert names.keys() == model.state_dict().keys()
    assert len(set(names.values())) == len(names)
    ordered = published_parameter_order(model)
    assert {id(p) for _, p in ordered} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(make_model, randomised, name):
    model = randomised(make_model(name))
    stored = {key: value.clone() for key, value in published_state_dict(model).items()}
    other = make_model(name)
    ours = {published: key for key, published in to_published(other).items()}
    other.load_state_dict({ours[key]: value for key, value in stored.items()})
    for key, value in published_state_dict(other).items():
        assert torch.equal(value, stored[key]), key


def test_projections_by_factor_belong_to_their_view(make_model, randomised):
    """They are restored from a file, and a test of the ego half does not need them."""
    factorised = {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"}
    model = randomised(make_model(**factorised))
    state = published_state_dict(model)
    added = set(state) - set(published_state_dict(make_model()))
    assert added == {
        f"global_con_head.{view}_{label}_proj.{leaf}"
        for view in ("fpv", "tpv")
        for label in ("verb", "noun")
        for leaf in ("weight", "bias")
    }
    for name in added:
        assert part_of(name).is_exo == ("tpv" in name)
        assert part_of(name).kind == "projection"
    assert not added & Weights.of_model(model).ego_recognizer.tensors.keys()
    other = make_model(**factorised)
    report = load_weights({name: value.clone() for name, value in state.items()}, other)
    assert [*report.missing, *report.unexpected, *report.mismatched] == []
    for name, value in published_state_dict(other).items():
        assert torch.equal(value, state[name]), name


def test_weights_are_not_copied(make_model):
    model = make_model("MultiTaskSlowFast")
    published_state_dict(model)["s1.pathway0_stem.bn.weight"].fill_(3.0)
    assert (model.backbone.s1.pathway0_stem.bn.weight == 3).all()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("SlowFast", {"headepic55.projection"}),
        ("MultiTaskSlowFast", {"headepic55.projections.0", "headepic55.projections.1"}),
        ("ExoSlowFast", {"readout.projections.0", "readout.projections.1"}),
        (
            "EgoExoSlowFast",
            {
                *("headepic55.projections.0", "headepic55.projections.1"),
                *("head_lemma.projections.0", "head_lemma.projections.1"),
                *("global_con_head.fpv_global_proj", "global_con_head.tpv_global_proj"),
            },
        ),
    ],
)
def test_names_of_the_linear_layers(make_model, name, head):
    published = to_published(make_model(name, TASK="epic55")).values()
    layers = {n.rsplit(".", 1)[0] for n in published if not n.startswith("s")}
    assert layers == head


def test_ego_and_exo_halves_are_told_apart(make_model):
    model = make_model()
    state = published_state_dict(model)
    pairs = {
        "s3_fuse.conv_f2s.weight": model.ego.backbone.s3_fuse.conv_f2s.weight,
        "s3_fuse_t.conv_f2s.weight": model.exo.backbone.s3_fuse.conv_f2s.weight,
        "head.projections.1.bias": model.ego.head.projections[1].bias,
        "head_lemma.projections.1.bias": model.exo.head.projections[1].bias,
        "global_con_head.fpv_global_proj.weight": model.ego_projection.linear.weight,
        "global_con_head.tpv_global_proj.weight": model.exo_projection.linear.weight,
    }
    for name, weight in pairs.items():
        assert state[name].data_ptr() == weight.data_ptr(), name


def test_the_head_knows_its_published_name(make_model):
    for name, head in (("MultiTaskSlowFast", "headepic55"), ("ExoSlowFast", "readout")):
        layers = make_model(name, TASK="epic55").published_layers
        assert layers == (f"{head}.projections.0", f"{head}.projections.1")


def test_other_models_keep_their_own_names():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert list(published_state_dict(model)) == list(model.state_dict())
    assert [n for n, _ in published_parameter_order(model)] == [
        n for n, _ in model.named_parameters()
    ]


def test_a_parameter_of_the_backbone_itself(make_model):
    """Such as a class token; it is sorted into the right half."""
    model = make_model("EgoExoSlowFast")
    for half in (model.ego, model.exo):
        half.backbone.register_parameter("token", nn.Parameter(torch.ones(2)))
    names = to_published(model)
    assert names["ego.backbone.token"] == "backbone.token"
    assert names["exo.backbone.token"] == "backbone_t.token"
    weights = Weights.of_model(model)
    assert "backbone_t.token" in weights.exo.tensors
    assert "backbone.token" in weights.ego.tensors
