"""Content of a checkpoint, the choice of the last one, and the state of a resumed training run."""

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.engine.checkpoint import (
    checkpoint_path,
    last_checkpoint,
    load_training_state,
    load_weights,
    newest_checkpoint,
    published_state_dict,
    resumed_checkpoint,
    save_checkpoint,
)
from slowfast.engine.solver import build_optimizer
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import MODELS, assert_same, copied, tiny_cfg, tiny_model


def _save(path: Path, model: nn.Module, epoch: int = 0, **extra: object) -> Path:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return save_checkpoint(
        path, model=model, optimizer=optimizer, epoch=epoch, cfg_text="TASK: x\n", extra=extra
    )


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """A step with random gradients."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.randn(parameter.shape, generator=draw)
    optimizer.step()


def test_names() -> None:
    folder = Path("runs/x/checkpoints")
    assert checkpoint_path("runs/x", 30) == folder / "checkpoint_epoch_00030.pyth"
    assert checkpoint_path("runs/x", "best") == folder / "checkpoint_best.pyth"
    inside = checkpoint_path("runs/x", 30, 1234)
    assert inside == folder / "checkpoint_epoch_00030_iter_0001234.pyth"
    ordered = [checkpoint_path("runs/x", 30).name, inside.name, checkpoint_path("runs/x", 31).name]
    assert sorted(ordered) == ordered


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_makes_the_round_trip_bit_for_bit(name: str, tmp_path: Path) -> None:
    cfg = tiny_cfg(name)
    path = _save(tmp_path / "a.pyth", tiny_model(cfg, seed=1))
    other = tiny_model(cfg, seed=2)
    report = load_weights(path, other)
    assert not report.missing
    assert not report.unexpected
    assert not report.mismatched
    expected = published_state_dict(tiny_model(cfg, seed=1))
    assert report.loaded == list(expected)
    assert_same(published_state_dict(other), expected)


def test_what_a_published_tool_finds_in_it(tmp_path: Path) -> None:
    model = tiny_model(tiny_cfg("EgoExoSlowFast"))
    content = torch.load(_save(tmp_path / "a.pyth", model, epoch=29), weights_only=True)
    assert content["epoch"] == 29
    assert content["cfg"] == "TASK: x\n"
    assert_same(content["model_state"], published_state_dict(model))
    assert set(content["optimizer_state"]) == {"state", "param_groups"}


def test_extra_must_not_hide_what_a_checkpoint_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="epoch"):
        save_checkpoint(
            tmp_path / "a.pyth",
            model=nn.Linear(1, 1),
            optimizer=torch.optim.SGD([torch.zeros(1)], lr=1.0),
            epoch=0,
            cfg_text="",
            extra={"epoch": 3},
        )


@pytest.mark.parametrize("name", ["MultiTaskSlowFast", "EgoExoSlowFast"])
def test_a_resumed_training_continues_bit_for_bit(name: str, tmp_path: Path) -> None:
    cfg = tiny_cfg(name)
    model = tiny_model(cfg)
    optimizer = build_optimizer(model, cfg)
    _step(model, optimizer, 1)
    path = save_checkpoint(
        checkpoint_path(tmp_path, 4),
        model=model,
        optimizer=optimizer,
        epoch=3,
        cfg_text=cfg.dump(),
        extra={"best": {"action_top1": 1.5, "epoch": 2}, "seen": torch.arange(3)},
    )
    _step(model, optimizer, 2)
    resumed = tiny_model(cfg, seed=5)
    resumed_optimizer = build_optimizer(resumed, cfg)
    start, extra = load_training_state(path, resumed, resumed_optimizer)
    assert start == 4
    assert extra["best"] == {"action_top1": 1.5, "epoch": 2}
    assert torch.equal(extra["seen"], torch.arange(3))
    assert set(extra) == {"best", "seen"}
    _step(resumed, resumed_optimizer, 2)
    assert_same(published_state_dict(resumed), published_state_dict(model))


def test_a_resume_needs_weights_and_optimizer_state_that_fit(tmp_path: Path) -> None:
    cfg = tiny_cfg("EgoExoSlowFast")
    model = tiny_model(cfg)
    optimizer = build_optimizer(model, cfg)
    bare = tmp_path / "bare.pyth"
    torch.save({"epoch": 3, "model_state": published_state_dict(model)}, bare)
    with pytest.raises(UserError, match=r"bare\.pyth has no optimizer state.*TRAIN\.RESUME"):
        load_training_state(bare, model, optimizer)
    ego = tiny_cfg("MultiTaskSlowFast")
    path = _save(tmp_path / "ego.pyth", tiny_model(ego))
    before = copied(published_state_dict(model))
    with pytest.raises(UserError, match=r"ego\.pyth does not fit"):
        load_training_state(path, model, optimizer)
    assert_same(published_state_dict(model), before)
    fewer = tiny_cfg("EgoExoSlowFast", MODEL__FREEZE_STAGES=3)
    frozen = tiny_model(fewer)
    whole = _save(tmp_path / "whole.pyth", model)
    with pytest.raises(UserError, match=r"whole\.pyth: its optimizer state does not fit"):
        load_training_state(whole, frozen, build_optimizer(frozen, fewer))


class TestLastCheckpoint:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        model = nn.Linear(2, 2)
        for epochs, iteration in ((1, 0), (2, 0), (2, 700), (10, 0)):
            _save(checkpoint_path(tmp_path, epochs, iteration), model, epochs - 1)
        _save(checkpoint_path(tmp_path, "best"), model, 99)
        return tmp_path

    def test_none(self, tmp_path: Path) -> None:
        assert last_checkpoint(tmp_path) is None
        (tmp_path / "checkpoints").mkdir()
        assert last_checkpoint(tmp_path) is None

    def test_epochs_then_steps_count(self, folder: Path) -> None:
        assert last_checkpoint(folder) == checkpoint_path(folder, 10)
        checkpoint_path(folder, 10).unlink()
        assert last_checkpoint(folder) == checkpoint_path(folder, 2, 700)
        checkpoint_path(folder, 2, 700).unlink()
        assert last_checkpoint(folder) == checkpoint_path(folder, 2)

    def test_more_epochs_than_the_name_has_digits(self, folder: Path) -> None:
        _save(checkpoint_path(folder, 100_000), nn.Linear(2, 2))
        assert last_checkpoint(folder) == checkpoint_path(folder, 100_000)

    def test_other_files_do_not_count(self, folder: Path) -> None:
        for name in (".checkpoint_epoch_00011.pyth.tmp", "checkpoint_epoch_00012.pyth.bak"):
            (folder / "checkpoints" / name).write_bytes(b"x")
        assert last_checkpoint(folder) == checkpoint_path(folder, 10)

    def test_damaged_ones_are_skipped_with_a_warning(
        self, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        empty, cut, flipped = (
            checkpoint_path(folder, *place) for place in ((10, 0), (2, 700), (2, 0))
        )
        empty.write_bytes(b"")
        cut.write_bytes(cut.read_bytes()[:-10])
        data = bytearray(flipped.read_bytes())
        data[len(data) // 2] ^= 4
        flipped.write_bytes(data)
        with caplog.at_level(logging.WARNING):
            assert last_checkpoint(folder) == checkpoint_path(folder, 1)
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 3
        for path, message in zip((empty, cut, flipped), messages, strict=True):
            assert str(path) in message
        assert "empty" in messages[0]

    def test_all_damaged(self, folder: Path) -> None:
        for path in (folder / "checkpoints").iterdir():
            path.write_bytes(b"x")
        assert last_checkpoint(folder) is None


def test_damaged_checkpoints_alone_are_an_error(tmp_path: Path) -> None:
    """They start neither a new training run nor a test without weights."""
    cfg = tiny_cfg()
    cfg.OUTPUT_DIR = str(tmp_path)
    assert newest_checkpoint(cfg) is None
    for epochs in (1, 2):
        path = checkpoint_path(tmp_path, epochs)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"all 2 checkpoint\(s\) in OUTPUT_DIR .* are damaged"):
        newest_checkpoint(cfg)


class TestResumedCheckpoint:
    """The newest in OUTPUT_DIR takes precedence over the file of TRAIN.RESUME."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        _save(checkpoint_path(tmp_path, 1), nn.Linear(2, 2))
        return tmp_path

    @staticmethod
    def resumed(folder: Path, auto: bool, named: bool) -> Path | None:
        keys = {"TRAIN__CHECKPOINT_FILE_PATH": "other.pyth", "TRAIN__RESUME": named}
        return resumed_checkpoint(tiny_cfg(OUTPUT_DIR=str(folder), TRAIN__AUTO_RESUME=auto, **keys))

    @pytest.mark.parametrize("named", [True, False])
    def test_newest(self, folder: Path, named: bool, caplog: pytest.LogCaptureFixture) -> None:
        assert self.resumed(folder, auto=True, named=named) == checkpoint_path(folder, 1)
        assert caplog.messages == []

    @pytest.mark.parametrize("auto", [True, False])
    def test_named_or_none(self, tmp_path: Path, auto: bool) -> None:
        assert self.resumed(tmp_path, auto=auto, named=True) == Path("other.pyth")
        assert self.resumed(tmp_path, auto=auto, named=False) is None

    @pytest.mark.parametrize(("named", "path"), [(True, Path("other.pyth")), (False, None)])
    def test_others_in_the_folder_are_reported(
        self, folder: Path, named: bool, path: Path | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.resumed(folder, auto=False, named=named) == path
        (message,) = caplog.messages
        assert f"OUTPUT_DIR {folder} holds checkpoints of an earlier training run" in message
