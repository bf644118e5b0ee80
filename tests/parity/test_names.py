"""Names, shapes and order of the weights equal the published ones."""

import json

import pytest
import torch

from slowfast.models import build_model
from slowfast.models.published_names import published_parameter_order, published_state_dict
from tests.parity.golden_weights import manifest, manifest_cfg

MODELS = ["a_r101", "b_r101", "b_r50", "c_r50", "d_lemma_sf_r101", "e_k400_r50"]
PARAMETERS = {
    "a_r101": 62_820_053,
    "b_r101": 126_700_406,
    "b_r50": 70_006_902,
    "c_r50": 34_743_973,
    "d_lemma_sf_r101": 62_110_113,
    "e_k400_r50": 34_566_488,
}


def build(golden, name):
    """The model without memory for its weights."""
    with torch.device("meta"):
        return build_model(manifest_cfg(manifest(golden, name)))


@pytest.mark.parametrize("name", MODELS)
def test_weights_have_the_published_names_shapes_types_and_order(golden, name):
    ours = published_state_dict(build(golden, name))
    rows = [[key, list(w.shape), str(w.dtype).removeprefix("torch.")] for key, w in ours.items()]
    assert rows == manifest(golden, name)["state_dict"]


@pytest.mark.parametrize("name", MODELS)
def test_parameters_come_in_the_published_order(golden, name):
    model = build(golden, name)
    ordered = published_parameter_order(model)
    assert [key for key, _ in ordered] == manifest(golden, name)["named_parameters"]
    assert {id(p) for _, p in ordered} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts(golden, name):
    assert sum(p.numel() for p in build(golden, name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["a_r101", "b_r101"])
def test_the_name_rule_of_the_optimizer_groups_picks_the_batch_norms(golden, name):
    model = build(golden, name)
    ordered = published_parameter_order(model)
    stored = json.loads((golden / "optimizer_groups.json").read_text())[name]["groups"]
    norms, others = ([key for key, _ in ordered if ("bn" in key) is bn] for bn in (True, False))
    assert [norms, others] == [group["names"] for group in stored]
    in_norms = {
        id(p)
        for module in model.modules()
        if isinstance(module, torch.nn.BatchNorm3d)
        for p in module.parameters()
    }
    assert in_norms == {id(p) for key, p in ordered if "bn" in key}
