"""Checkpoints with odd values: each is loaded as it should be, or refused in one line."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.engine.checkpoint import load_training_state, load_weights, read_checkpoint
from slowfast.engine.checkpoints import formats
from slowfast.engine.checkpoints.checkpoint_file import checkpoint_content
from slowfast.engine.checkpoints.convert import convert_checkpoint
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.engine.resume import load_training
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.update import Update, update_options
from slowfast.models.published_names import published_state_dict
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model

NAME = "s5.pathway0_res2.branch2.c.weight"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cfg() -> CfgNode:
    return tiny_cfg(SOLVER__EMA_DECAY=0.9, SOLVER__OPTIMIZING_METHOD="adamw")


def make_update(cfg: CfgNode) -> Update:
    model, task = build_training(cfg)
    return Update(model, model, task, build_optimizer(model, cfg), update_options(cfg))


@pytest.fixture(scope="module")
def update(cfg: CfgNode) -> Update:
    return make_update(cfg)


@pytest.fixture(scope="module")
def saved(cfg: CfgNode, update: Update) -> dict[str, Any]:
    """A checkpoint inside an epoch, after one step."""
    for parameter in update.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    update.optimizer.step()
    progress = EpochProgress(1, model_spec(cfg).heads(cfg))
    progress.iteration = 2
    progress.window.add({"loss": torch.tensor(1.0)}, torch.tensor(True))
    extra = {
        "best": {"action_top1": 3.5, "epoch": 1},
        "update": update.state_dict(),
        "nonfinite_skipped": 0,
        "progress": progress.gathered_state(),
    }
    content = checkpoint_content(
        model=update.model,
        optimizer=update.optimizer,
        epoch=0,
        cfg_text=cfg.dump(),
        extra=extra,
    )
    return copy.deepcopy(content)


def refusal(load: Callable[[], object], path: Path) -> str:
    """The one line, which names the file."""
    with pytest.raises(UserError) as refused:
        load()
    line = str(refused.value)
    assert str(path) in line
    assert "\n" not in line
    return line


ODD_TENSORS = {
    "sparse": torch.eye(4).to_sparse(),
    "sparse_csr": torch.eye(4).to_sparse_csr(),
    "meta": torch.empty(4, device="meta"),
    "quantized": torch.quantize_per_tensor(torch.rand(4), 0.1, 0, torch.qint8),
    "nested": torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]),
    "complex": torch.rand(4, dtype=torch.complex64),
    "repeated": torch.zeros(1).expand(2**40),
}


@pytest.mark.parametrize("kind", ODD_TENSORS)
def test_only_plain_tensors_are_weights(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.pyth"
    torch.save({"model_state": {"s1.w": torch.ones(2), NAME: ODD_TENSORS[kind]}}, path)
    line = refusal(lambda: read_checkpoint(path), path)
    assert f"weight {NAME} is a {kind.partition('_')[0]} tensor" in line
    target = tmp_path / "out.safetensors"
    refusal(lambda: convert_checkpoint(path, target), path)
    assert not target.exists()


def test_two_names_of_one_tensor_convert(tmp_path: Path) -> None:
    weight = torch.rand(4, 3, 1, 7, 7)
    source, target = tmp_path / "in.pyth", tmp_path / "out.safetensors"
    torch.save({"model_state": {"s1.a.weight": weight, "s2.a.weight": weight}}, source)
    convert_checkpoint(source, target)
    assert_same(
        dict(read_checkpoint(target).weights.tensors),
        {"s1.a.weight": weight, "s2.a.weight": weight},
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.fill_(float("nan")), "NaN or infinite"),
        (lambda w: w.fill_(float("-inf")), "NaN or infinite"),
        (lambda w: w.double().mul_(1e300), "NaN or infinite"),
        (lambda w: w.to(torch.int8), "is of type torch.int8"),
    ],
    ids=["nan", "inf", "too_large", "integers"],
)
def test_weights_that_are_not_finite_numbers_are_named(
    change: Callable[[Tensor], Tensor], reason: str, tmp_path: Path
) -> None:
    """The error comes before any weight of the model changes."""
    model = tiny_model(tiny_cfg())
    before = copied(published_state_dict(model))
    path = tmp_path / "bad.pyth"
    torch.save({"model_state": {**before, NAME: change(before[NAME].clone())}}, path)
    line = refusal(lambda: load_weights(path, model), path)
    assert NAME in line
    assert reason in line
    assert_same(published_state_dict(model), before)


def test_weights_that_the_model_does_not_take_may_be_anything(tmp_path: Path) -> None:
    model = tiny_model(tiny_cfg())
    state = {**published_state_dict(model), "other.weight": torch.tensor([float("nan")])}
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    assert load_weights(tmp_path / "a.pyth", model).unexpected == ["other.weight"]


ODD_VALUES: tuple[object, ...] = (None, True, "text", float("nan"), 2.5, -7, 1e300, [1], {"a": 1})


@pytest.mark.parametrize("key", ["epoch", "cfg", "optimizer_state", "best", "nonfinite_skipped"])
def test_odd_values_are_one_line(
    key: str,
    cfg: CfgNode,
    update: Update,
    saved: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "odd.pyth"
    torch.save({}, path)
    for value in ODD_VALUES:
        if (key, value) in (("cfg", "text"), ("best", {"a": 1}), ("nonfinite_skipped", True)):
            continue
        content = {**saved, key: value}
        monkeypatch.setattr(formats, "_read_torch", lambda path, content=content: content)
        refusal(lambda: load_training(cfg, CPU, update, path, {}), path)


class TestOptimizerState:
    @staticmethod
    def load(cfg: CfgNode, saved: dict[str, Any], state: object, path: Path) -> Any:
        model = tiny_model(cfg)
        optimizer = build_optimizer(model, cfg)
        torch.save({**saved, "optimizer_state": state}, path)
        load_training_state(path, model, optimizer)
        return optimizer

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("exp_avg", torch.zeros(3, 9), "exp_avg of s1.* has shape (3, 9), the weight"),
            ("exp_avg", None, "is not a tensor"),
            ("exp_avg_sq", "nan", "has NaN or infinite values"),
            ("exp_avg_sq", "integers", "is of type torch.int64"),
            ("step", torch.ones(2), "step of s1.* has shape (2,)"),
            ("momentum_buffer", torch.ones(2), "where this optimizer keeps exp_avg"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_each_state_fits_its_weight(
        self, key: str, value: Any, reason: str, cfg: CfgNode, saved: Any, tmp_path: Path
    ) -> None:
        optimizer_state = copy.deepcopy(saved["optimizer_state"])
        state = optimizer_state["state"][0]
        if value == "nan":
            value = torch.full_like(state[key], float("nan"))
        elif value == "integers":
            value = state[key].long()
        state[key] = value
        path = tmp_path / "odd.pyth"
        line = refusal(lambda: self.load(cfg, saved, optimizer_state, path), path)
        assert "its optimizer state does not fit" in line
        for part in reason.split("*"):
            assert part in line

    @pytest.mark.parametrize("states", [{"a": 1}, {10**6: {}}, {0: 3}, [], None])
    def test_states_are_mappings_of_known_weights(
        self, states: object, cfg: CfgNode, saved: Any, tmp_path: Path
    ) -> None:
        optimizer_state = {**saved["optimizer_state"], "state": states}
        path = tmp_path / "odd.pyth"
        line = refusal(lambda: self.load(cfg, saved, optimizer_state, path), path)
        assert "its optimizer state does not fit" in line

    def test_another_order_is_refused(self, cfg: CfgNode, saved: Any, tmp_path: Path) -> None:
        optimizer_state = copy.deepcopy(saved["optimizer_state"])
        numbers = list(optimizer_state["state"])
        states = zip(numbers, reversed(optimizer_state["state"].values()), strict=True)
        optimizer_state["state"] = dict(states)
        path = tmp_path / "odd.pyth"
        line = refusal(lambda: self.load(cfg, saved, optimizer_state, path), path)
        assert "has shape" in line

    def test_the_options_of_the_config_hold(
        self, cfg: CfgNode, saved: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        optimizer_state = copy.deepcopy(saved["optimizer_state"])
        path = tmp_path / "a.pyth"
        own = build_optimizer(tiny_model(cfg), cfg).param_groups
        self.load(cfg, saved, optimizer_state, path)
        assert caplog.messages == []
        for group in optimizer_state["param_groups"]:
            group.update(weight_decay=0.7, betas=(0.5, 0.5))
        optimizer_state["param_groups"][1]["eps"] = torch.ones(2)
        optimizer = self.load(cfg, saved, optimizer_state, path)
        (warning,) = caplog.messages
        assert "eps tensor([1., 1.]) (now 1e-08)" in warning
        assert "weight_decay 0.7 (now 0.0)" in warning
        assert "weight_decay 0.7 (now 0.0001)" in warning
        assert "betas (0.5, 0.5) (now (0.9, 0.999))" in warning
        for group, expected in zip(optimizer.param_groups, own, strict=True):
            assert group["weight_decay"] == expected["weight_decay"]
            assert group["betas"] == (0.9, 0.999)
        state = optimizer.state[optimizer.param_groups[0]["params"][0]]
        assert torch.equal(state["exp_avg"], optimizer_state["state"][0]["exp_avg"])


class TestFuzz:
    """With a fixed seed; `MUTANTS` of a few hundred thousand take about an hour."""

    MUTANTS = 150

    def test_other_values_anywhere(
        self,
        cfg: CfgNode,
        update: Update,
        saved: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        draw = random.Random(14)
        odd = (*ODD_VALUES, *ODD_TENSORS.values(), torch.tensor(float("nan")), "x" * 1000, 2**70)
        path = tmp_path / "mutant.pyth"
        torch.save({}, path)
        refused = 0
        for _ in range(self.MUTANTS):
            mutant = _copied_containers(saved)
            parent, key = _random_place(mutant, draw)
            parent[key] = draw.choice(odd)
            # The content without the file, to save the time of 150 files.
            monkeypatch.setattr(formats, "_read_torch", lambda path, mutant=mutant: mutant)
            refused += self.is_refused(cfg, update, path)
        assert refused > self.MUTANTS // 2

    def test_other_bytes(
        self, cfg: CfgNode, update: Update, saved: dict[str, Any], tmp_path: Path
    ) -> None:
        draw = random.Random(15)
        path = tmp_path / "mutant.pyth"
        torch.save({"model_state": {"s1.w": torch.ones(2)}, "epoch": 1, "cfg": "A: 1"}, path)
        whole = path.read_bytes()
        for _ in range(self.MUTANTS):
            mutant = bytearray(whole)
            for _ in range(draw.choice((1, 1, 2, 8))):
                mutant[draw.randrange(len(mutant))] = draw.randrange(256)
            path.write_bytes(mutant[: draw.choice((len(whole), draw.randrange(len(whole))))])
            self.is_refused(cfg, update, path)

    @staticmethod
    def is_refused(cfg: CfgNode, update: Update, path: Path) -> bool:
        """Nothing except a UserError may leave the loader."""
        try:
            load_training(cfg, CPU, update, path, {})
        except UserError as error:
            return "\n" not in str(error)
        return False


def _copied_containers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied_containers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied_containers(item) for item in value]
    return value


def _random_place(content: Any, draw: random.Random) -> tuple[Any, Any]:
    """A container at random depth, and one of its keys."""
    while True:
        key = draw.choice(list(content)) if isinstance(content, dict) else None
        if key is None:
            key = draw.randrange(len(content))
        inner = content[key]
        if not (isinstance(inner, (dict, list)) and inner) or draw.random() < 0.2:
            return content, key
        content = inner
