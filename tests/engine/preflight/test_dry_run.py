"""--dry-run: counts, report, and no files left behind."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from slowfast.config import load_config
from slowfast.datasets.frames.missing import missing_collected
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.types import Segment
from slowfast.engine.preflight import dry_run as module
from slowfast.engine.preflight.cost import (
    KeptForBackward,
    StepCost,
    step_cost,
    synthetic_batch,
    view_cost,
)
from slowfast.engine.preflight.dry_run import dry_run
from slowfast.engine.processes.output_lock import lock_in
from slowfast.engine.solver import build_optimizer
from slowfast.tasks.build import build_training
from slowfast.utils.errors import UserError
from tests.commands import CONFIGS, assert_one_line_error, run_tool
from tests.engine.tiny_models import tiny_cfg

SMALL = {"DATA__NUM_FRAMES": 8, "EXO__NUM_FRAMES": 8, "DATA__TRAIN_CROP_SIZE": 32}


def test_slowfast_r101_takes_251_8_gflops() -> None:
    """At 32 frames of 256 x 256 pixels, a multiply-add counted as two."""
    r101 = CONFIGS / "epic-kitchen-100" / "Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"
    cost = view_cost(load_config(r101))
    assert (cost.frames, cost.side) == (32, 256)
    assert round(cost.flops / 1e9, 1) == 251.8


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_a_step_costs_what_a_real_one_does(method: str) -> None:
    """All memory except activations, against a real model, its gradients and optimizer."""
    name = "EgoExoSlowFast" if method == "sgd" else "ExoSlowFast"
    cfg = tiny_cfg(name, **SMALL, MODEL__FREEZE_STAGES=1, SOLVER__OPTIMIZING_METHOD=method)
    cost = step_cost(cfg, 2)
    model, task = build_training(cfg)
    model.train()
    optimizer = build_optimizer(model, cfg)
    total = task.step(model, synthetic_batch(cfg, 2), 0, 0).total
    with FlopCounterMode(display=False) as counter:
        total.backward()
    optimizer.step()
    parameters = list(model.parameters())
    assert cost.weights == sum(p.numel() for p in parameters)
    assert cost.trained == sum(p.numel() for p in parameters if p.requires_grad)
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert cost.gradients == sum(g.numel() * 4 for g in gradients)
    state = sum(x.numel() * 4 for values in optimizer.state.values() for x in values.values())
    # Adam counts the steps of every parameter in a separate tensor.
    assert cost.optimizer == pytest.approx(state, rel=0.01)
    # The contrastive losses have matrix products too, of N x N.
    assert 2 * cost.backward_flops == pytest.approx(counter.get_total_flops(), rel=0.001)


@pytest.mark.parametrize("conv_2d", [False, True])
def test_channels_last_activations_are_those_of_a_real_step(conv_2d: bool) -> None:
    """Fake weights take the memory layout, too, which decides whether 2-D convolutions copy."""
    cfg = tiny_cfg(**SMALL, MODEL__CHANNELS_LAST=True, MODEL__CONV_2D=conv_2d)
    model, task = build_training(cfg)
    model.train()
    kept = KeptForBackward([*model.parameters(), *model.buffers()])
    with kept.counting():
        task.forward(model, synthetic_batch(cfg, 2))
    assert step_cost(cfg, 2).activations == kept.bytes
    assert view_cost(cfg).flops == view_cost(tiny_cfg(**SMALL)).flops


def test_activations_follow_what_goes_through_at_once() -> None:
    one = step_cost(tiny_cfg(**SMALL), 1)
    two = step_cost(tiny_cfg(**SMALL), 2)
    # Statistics of batch norms and the frame numbers of the slow pathway do not grow.
    assert two.activations == pytest.approx(2 * one.activations, rel=0.02)
    assert two.forward_flops == one.forward_flops
    stages = {"MODEL__RECOMPUTE_STAGES": ["s2", "s3", "s4"]}
    less = step_cost(tiny_cfg(**SMALL, **stages, SOLVER__ACCUMULATE=2), 2)
    assert less.activations < 0.5 * one.activations
    assert less.backward_flops > one.backward_flops


@pytest.mark.parametrize(
    "suml",
    [
        {"SUML__EXO_STREAM": True},
        {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"},
    ],
    ids=str,
)
def test_a_second_exo_clip_costs_its_pass(suml: dict[str, object]) -> None:
    cfg = tiny_cfg("EgoExoSlowFast", **SMALL, **suml)
    plain = step_cost(tiny_cfg("EgoExoSlowFast", **SMALL), 1)
    # Two halves of one size; projections are small.
    assert step_cost(cfg, 1).forward_flops == pytest.approx(1.5 * plain.forward_flops, rel=0.01)
    assert "align" in module._made_step(cfg, torch.device("cpu"), 2)


def test_when_a_step_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = StepCost(2, 1, 1, forward_flops=1e9, backward_flops=2e9, parameters=2**30,
                    gradients=2**30, optimizer=2**30, activations=2**30)  # fmt: skip
    cpu = torch.device("cpu")
    monkeypatch.setattr(module, "_free", lambda device: 6 * 2**30)
    assert module._obstacle(cpu, cost) == ""
    assert "device is missing" in module._obstacle(None, cost)
    assert "take long" in module._obstacle(cpu, replace(cost, clips=1000))
    monkeypatch.setattr(module, "_free", lambda device: 4 * 2**30)
    assert "may take 5.00 GiB and 4.00 GiB are free" in module._obstacle(cpu, cost)


def test_missing_videos_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "P01_02").mkdir()
    (tmp_path / "P01_02" / "frame_0000000001.jpg").touch()
    segments = [
        Segment(f"{n}", f"P01_{n:02}", "P01", 1, 9, "take cup", ((0,), (0,))) for n in range(8)
    ]

    def store() -> VideoStore:
        return VideoStore([str(tmp_path)], lambda *_: torch.zeros(1).numpy())

    with missing_collected() as missing:
        store().check(segments)
    (found,) = missing
    assert str(found) == "7 of 8 video(s): P01_00, P01_01, P01_03, P01_04, P01_05, ..."
    with pytest.raises(UserError, match=r"video P01_00 .* 7 of 8 video\(s\): P01_00, P01_01"):
        store().check(segments)


@pytest.mark.parametrize("task", ["retrieval", "zero_shot", "cross_view", "features"])
def test_no_task_of_a_test_writes(
    sample_home: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """Not even the embeddings of the sentences are written."""
    monkeypatch.chdir(sample_home)
    before = {path: path.stat().st_mtime_ns for path in sample_home.rglob("*")}
    keys = ["TRAIN.ENABLE", False, "TEST.TASK", task, "SUML.CACHE_DIR", "no/cache"]
    cfg = load_config(CONFIGS / "sample" / "SUML_tiny.yaml", [*keys, "NUM_GPUS", 0])
    report = dry_run(cfg)
    assert "10 ego segments" in str(report)
    assert {path: path.stat().st_mtime_ns for path in sample_home.rglob("*")} == before


def test_fewer_clips_than_processes() -> None:
    report = module.DryRun()
    module._step(report, tiny_cfg(TRAIN__BATCH_SIZE=2), torch.device("cpu"), 4)
    assert "not run: TRAIN.BATCH_SIZE 2 is less than one clip per process" in str(report)


def test_an_output_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert lock_in(tmp_path / "file" / "run") == ""


def test_everything_is_told_and_nothing_written(
    sample_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    before = {path: path.stat().st_mtime_ns for path in sample_home.rglob("*")}
    small = ["DATA.TRAIN_CROP_SIZE", 48, "DATA.TRAIN_JITTER_SCALES", [48, 56], "NUM_GPUS", 0]
    files = ["OUTPUT_DIR", "runs/dry", "SOLVER.MAX_EPOCH", 3, "TRAIN.BATCH_SIZE", 8]
    cfg = load_config(CONFIGS / "sample" / "SUML_tiny.yaml", [*small, *files])
    report = dry_run(cfg)
    assert report.mistakes == []
    for part in (
        *("train:        32 segments, 4 steps an epoch, 12 in all", "val:          10 segments"),
        *("test:         10 ego segments", "GFLOPs per clip", "M parameters", "activations"),
        *("step:         one step on random frames: ego_verb", "random weights"),
        *("go to runs/dry/checkpoints", "the last checkpoint of this run"),
    ):
        assert part in str(report), str(report)
    assert {path: path.stat().st_mtime_ns for path in sample_home.rglob("*")} == before


@pytest.mark.parametrize("key", ["TRAIN.CHECKPOINT_FILE_PATH", "TEST.CHECKPOINT_FILE_PATH"])
def test_a_checkpoint_that_is_none(tmp_path: Path, key: str) -> None:
    (tmp_path / "text.pyth").write_text("no checkpoint")
    cfg = tiny_cfg(OUTPUT_DIR=str(tmp_path / "run"), TRAIN__ENABLE=key.startswith("TRAIN"))
    cfg.merge_from_list([key, str(tmp_path / "text.pyth")])
    report = module.DryRun()
    part = module._start if cfg.TRAIN.ENABLE else module._files
    report.look("start", lambda: part(report, cfg))
    (mistake,) = report.mistakes
    assert "text.pyth cannot be read as a PyTorch checkpoint" in mistake


def test_a_caffe2_exo_file(tmp_path: Path) -> None:
    """It is read as in training."""
    path = tmp_path / "exo.pkl"
    path.write_bytes(pickle.dumps({"blobs": {"conv1_w": np.ones(2, np.float32)}}))
    cfg = tiny_cfg("EgoExoSlowFast", OUTPUT_DIR=str(tmp_path), EXO__CHECKPOINT_FILE_PATH=str(path))
    report = module.DryRun()
    module._start(report, cfg)
    assert f"start:        weights of EXO.CHECKPOINT_FILE_PATH {path}" in report.lines


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """The command reports them in one line after the report."""
    args = ("NUM_GPUS", 0, "TRAIN.CHECKPOINT_FILE_PATH", "no.pyth", "TRAIN.BATCH_SIZE", 2)
    cfg = CONFIGS / "sample" / "Ego_tiny.yaml"
    ended = run_tool("run_net.py", "--cfg", cfg, *args, "--dry-run", cwd=tmp_path)
    assert_one_line_error(ended, "EPIC_100_train.csv", "EPIC_100_validation.csv", "no.pyth")
    assert "model:" in ended.stdout
    assert list(tmp_path.iterdir()) == []
