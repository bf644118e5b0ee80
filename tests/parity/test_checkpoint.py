"""Checkpoint files are named, built and read as the published code's."""

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from slowfast.engine.checkpoint import (
    Required,
    checkpoint_path,
    last_checkpoint,
    load_training_state,
    load_weights,
    published_state_dict,
    save_checkpoint,
)
from slowfast.engine.checkpoints.match import inflate_weight
from slowfast.engine.checkpoints.weight_names import published_names
from slowfast.engine.solver import build_optimizer
from slowfast.models import build_model
from slowfast.models.published_names import published_parameter_order
from tests.engine.tiny_models import assert_same, tiny_cfg, tiny_model
from tests.parity.golden_weights import fill_weights, manifest, manifest_cfg

# (model, prefix of the names in the file)
FILES = [
    *((name, "") for name in ("a_r101", "b_r50", "c_r50", "d_lemma_sf_r101", "e_k400_r50")),
    ("c_r50", "module."),
]


@pytest.fixture
def stored(golden: Path) -> dict:
    return json.loads((golden / "checkpoint.json").read_text())


def test_file_names(stored: dict) -> None:
    assert str(checkpoint_path("", 5)) == stored["file_for_epoch_index_4"]
    assert str(checkpoint_path("", "best")) == stored["best_name"]


def test_what_a_file_holds(golden: Path, stored: dict, tmp_path: Path) -> None:
    cfg = manifest_cfg(manifest(golden, "c_r50"))
    cfg.SOLVER.BASE_LR = 0.01
    cfg.SOLVER.WARMUP_EPOCHS = 0.0
    model = build_model(cfg)
    path = save_checkpoint(
        checkpoint_path(tmp_path, 5),
        model=model,
        optimizer=build_optimizer(model, cfg),
        epoch=4,
        cfg_text=cfg.dump(),
        extra={},
    )
    content = torch.load(path, weights_only=True)
    assert {key: type(value).__name__ for key, value in content.items()} == stored["keys"]
    assert content["epoch"] == stored["epoch"]
    assert len(content["model_state"]) == stored["model_state_key_count"]
    first = stored["model_state_first_keys"]
    assert list(content["model_state"])[: len(first)] == first
    groups = content["optimizer_state"]["param_groups"]
    expected = stored["optimizer_state_before_any_step"]["param_groups"]
    assert content["optimizer_state"]["state"] == {}
    for ours, theirs in zip(groups, expected, strict=True):
        assert {**ours, "params": len(ours["params"])} == theirs
    save_checkpoint(
        checkpoint_path(tmp_path, "best"),
        model=model,
        optimizer=build_optimizer(model, cfg),
        epoch=9,
        cfg_text="",
        extra={},
    )
    assert last_checkpoint(tmp_path) == tmp_path / stored["get_last_checkpoint_with_best_present"]


@pytest.mark.parametrize(("name", "prefix"), FILES)
def test_a_published_file_of_every_model_loads_bit_for_bit(
    golden: Path, name: str, prefix: str, tmp_path: Path
) -> None:
    """Names and shapes as the manifest lists them, values by the stored rule."""
    rule, described = fill_weights(golden), manifest(golden, name)
    state = OrderedDict(
        (
            key,
            torch.tensor(7)
            if key.endswith("num_batches_tracked")
            else torch.from_numpy(rule.golden_array(key, shape)),
        )
        for key, shape, _ in described["state_dict"]
    )
    path = tmp_path / "published.pyth"
    torch.save(
        {"epoch": 4, "model_state": OrderedDict((prefix + k, v) for k, v in state.items())}, path
    )
    model = build_model(manifest_cfg(described))
    report = load_weights(path, model, required=Required.ALL)
    path.unlink()  # up to 280 MB
    assert report.loaded == list(state)
    assert_same(published_state_dict(model), state)


@pytest.mark.parametrize("name", ["a_r101", "b_r101"])
def test_a_published_optimizer_state_lands_on_its_parameters(
    golden: Path, name: str, tmp_path: Path
) -> None:
    """The published groups, in a model of the same names: every buffer tells its parameter."""
    groups = json.loads((golden / "optimizer_groups.json").read_text())[name]["groups"]
    dual = name.startswith("b")
    cfg = tiny_cfg("EgoExoSlowFast" if dual else "MultiTaskSlowFast")
    cfg.RESNET.DEPTH = 101
    model = tiny_model(cfg)
    weights = published_state_dict(model)
    buffers: dict[int, dict[str, torch.Tensor]] = {}
    param_groups = []
    for group in groups:
        numbers = list(range(len(buffers), len(buffers) + len(group["names"])))
        for number, key in zip(numbers, group["names"], strict=True):
            buffers[number] = {"momentum_buffer": torch.full(weights[key].shape, float(number))}
        # As torch 1.x wrote it: without the options that came later.
        options = ("weight_decay", "lr", "momentum", "nesterov", "dampening")
        param_groups.append({**{key: group[key] for key in options}, "params": numbers})
    path = tmp_path / "published.pyth"
    optimizer_state = {"state": buffers, "param_groups": param_groups}
    torch.save({"epoch": 4, "model_state": weights, "optimizer_state": optimizer_state}, path)
    optimizer = build_optimizer(model, cfg)
    start, _ = load_training_state(path, model, optimizer)
    assert start == 5
    parameters = dict(zip([n for g in groups for n in g["names"]], buffers.values(), strict=True))
    checked = 0
    for key, parameter in published_parameter_order(model):
        expected = parameters[key]["momentum_buffer"]
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], expected), key
        checked += 1
    assert checked == len(parameters)
    for ours, theirs in zip(optimizer.param_groups, groups, strict=True):
        assert ours["weight_decay"] == theirs["weight_decay"]
        assert ours["momentum"] == theirs["momentum"]


def test_inflation(golden: Path, stored: dict) -> None:
    case = stored["inflate"]
    rule = fill_weights(golden)
    flat = torch.from_numpy(rule.golden_input(case["input_seed"], tuple(case["input_shape"])))
    inflated = inflate_weight(flat, case["out_shape"][2])
    assert list(inflated.shape) == case["out_shape"]
    for frame in range(case["out_shape"][2]):
        assert torch.equal(inflated[:, :, frame], flat / case["out_shape"][2])


def test_sub_batch_norm_names(stored: dict) -> None:
    case = stored["sub_bn"]
    assert sorted(published_names("", dict.fromkeys(case["model_keys"]))[0]) == sorted(
        case["saved_keys"]
    )


def test_a_checkpoint_without_epoch_starts_at_the_first(stored: dict, tmp_path: Path) -> None:
    cfg = tiny_cfg()
    model = tiny_model(cfg)
    optimizer = build_optimizer(model, cfg)
    path = tmp_path / "a.pyth"
    content = {
        "model_state": published_state_dict(model),
        "optimizer_state": optimizer.state_dict(),
    }
    torch.save(content, path)
    start, _ = load_training_state(path, model, optimizer)
    assert start == stored["load_without_epoch_key_returns"] + 1
