"""Reported values of heads with any name: log, TensorBoard, best checkpoint, test."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

from slowfast.config import get_cfg
from slowfast.config.heads import HeadSpec
from slowfast.datasets.types import ClipBatch, Segment
from slowfast.engine import trainer
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.engine.monitor.meters import StepClock
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.engine.testing.outcome import write_outcome
from slowfast.engine.testing.view_scoring import SegmentScores
from slowfast.evaluation.metric_names import best_metric, validation_metrics
from slowfast.evaluation.predictions import fuse, read_predictions
from slowfast.utils.logging import JSON_PREFIX
from tests.evaluation.added_metrics import added

ACTION = (HeadSpec("action", 9, False),)
THREE = tuple(HeadSpec(name, 6 + i, False) for i, name in enumerate(("verb", "noun", "hand")))
MANY = (HeadSpec("label", 157, True),)
EVERY = pytest.mark.parametrize("heads", [ACTION, THREE, MANY], ids=["one", "three", "many"])
Heads = tuple[HeadSpec, ...]
CLIPS, BATCHES = 8, 3


def answers(heads: Heads, number: int, advantage: float = 1.0) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and labels of one batch; the higher the advantage, the more are right."""
    draw = torch.Generator().manual_seed(number)
    logits, labels = [], []
    for head in heads:
        hot = torch.rand(CLIPS, head.num_classes, generator=draw)
        hot = (
            (hot < 0.1).float() if head.multi_label else torch.eye(head.num_classes)[hot.argmax(1)]
        )
        logits.append(torch.randn(hot.shape, generator=draw) + advantage * hot)
        labels.append(hot if head.multi_label else hot.argmax(1))
    return logits, labels


class Task:
    """Gives the activated scores of the batch of that number."""

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self.advantage = 1.0

    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        logits, _ = answers(self._heads, int(batch.indices[0]), self.advantage)
        return [
            x.sigmoid() if head.multi_label else x.softmax(1)
            for head, x in zip(self._heads, logits, strict=True)
        ]


class Given(list):
    """A loader of the given batches."""

    @property
    def sampler(self) -> Any:
        return SimpleNamespace(batches_per_epoch=len(self))


def batches(heads: Heads) -> Given:
    """Batches without frames."""
    return Given(
        ClipBatch(torch.empty(CLIPS, 0), answers(heads, n)[1], torch.full((CLIPS,), n))
        for n in range(BATCHES)
    )


def make_cfg(folder: Path, heads: Heads) -> CfgNode:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = cfg.DATA.PATH_TO_DATA_DIR = str(folder)
    cfg.TENSORBOARD.ENABLE = True
    cfg.MODEL.HEAD_NAMES = [head.name for head in heads]
    return cfg


def make_run(cfg: CfgNode, heads: Heads) -> Any:
    """Objects that the loop needs for its log lines, with stubs for model and data."""

    @contextmanager
    def evaluated() -> Iterator[nn.Module]:
        yield nn.Identity()

    return SimpleNamespace(
        cfg=cfg,
        heads=heads,
        device=torch.device("cpu"),
        update=SimpleNamespace(task=Task(heads), evaluated=evaluated),
        val_loader=batches(heads),
        scalars=ScalarWriter(cfg),
        stop=SimpleNamespace(check=lambda: None),
        progress=EpochProgress(0, heads),
        epoch_of_all="1/1",
        steps_at_end=BATCHES,
        best_metric=best_metric(heads, cfg.TRAIN.BEST_METRIC),
        best={},
    )


def scalars(folder: Path, prefix: str) -> dict[str, float]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        tag.removeprefix(f"{prefix}/"): events.Scalars(tag)[-1].value
        for tag in events.Tags()["scalars"]
        if tag.startswith(f"{prefix}/")
    }


def logged(caplog: pytest.LogCaptureFixture, kind: str) -> dict[str, Any]:
    lines = [r.getMessage() for r in caplog.records if JSON_PREFIX in r.getMessage()]
    stats = [json.loads(line.split(JSON_PREFIX)[1]) for line in lines]
    return next(entry for entry in reversed(stats) if entry["_type"] == kind)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("slowfast").propagate = True
    caplog.set_level(logging.INFO, logger="slowfast")


@EVERY
def test_training_and_validation_report_the_same_names(
    tmp_path: Path, heads: Heads, caplog: pytest.LogCaptureFixture
) -> None:
    names = set(validation_metrics(heads))
    run = make_run(make_cfg(tmp_path, heads), heads)
    for number in range(BATCHES):
        run.progress.scores.add(*answers(heads, number), torch.tensor(True))
    trainer._log_epoch(run, StepClock())
    assert trainer._validate(run)
    training, validation = logged(caplog, "train_epoch"), logged(caplog, "val_epoch")
    run.scalars.add("train_epoch", training, run.steps_at_end)
    assert names < set(training)
    assert names == set(validation) - {"_type", "epoch"}
    for name in names:
        # The scores of the validation are those of the training, activated.
        assert validation[name] == pytest.approx(training[name], abs=1e-3), name
        for prefix, value in (("train_epoch", training[name]), ("val", validation[name])):
            assert scalars(tmp_path, prefix)[name] == pytest.approx(value, rel=1e-5)
    if not heads[0].multi_label:
        right = []
        for number in range(BATCHES):
            pairs = zip(*answers(heads, number), strict=True)
            right.append(torch.stack([x.argmax(1) == y for x, y in pairs]).all(0))
        share = float(torch.cat(right).float().mean())
        assert 0 < share < 1
        assert validation[run.best_metric.name] == pytest.approx(100 * share, rel=1e-5)


@EVERY
def test_the_best_value_of_the_metric_selects_the_checkpoint(tmp_path: Path, heads: Heads) -> None:
    run = make_run(make_cfg(tmp_path, heads), heads)
    improved = []
    for advantage in (1.0, 3.0, 3.0, 2.0, 9.0):
        run.update.task.advantage = advantage
        improved.append(trainer._validate(run))
    assert improved == [True, True, False, False, True]
    name = "mAP" if heads[0].multi_label else {1: "action_top1", 3: "all_top1"}[len(heads)]
    assert run.best == {name: pytest.approx(100), "epoch": 1}


def test_a_metric_that_is_lower_for_the_better_selects_the_lowest(tmp_path: Path) -> None:
    cfg = make_cfg(tmp_path, THREE)
    with added(tmp_path, "error"):
        cfg.TRAIN.BEST_METRIC = "all_error"
        run = make_run(cfg, THREE)
        improved = []
        for advantage in (1.0, 3.0, 2.0, 9.0):
            run.update.task.advantage = advantage
            improved.append(trainer._validate(run))
    assert improved == [True, True, False, True]
    assert run.best == {"all_error": 0.0, "epoch": 1}


def test_a_validation_without_labels_selects_nothing(tmp_path: Path) -> None:
    run = make_run(make_cfg(tmp_path, ACTION), ACTION)
    unlabelled = [torch.full((CLIPS,), -1)]
    run.val_loader = Given([ClipBatch(torch.empty(CLIPS, 0), unlabelled, torch.zeros(CLIPS))])
    assert not trainer._validate(run)
    assert run.best == {}


def outcome_of(folder: Path, heads: Heads) -> dict[str, Any]:
    """The results.json of a test of the batches, one segment a clip."""
    segments, scored = [], []
    for number in range(BATCHES):
        logits, labels = answers(heads, number)
        for clip in range(CLIPS):
            activated = [
                (x[clip].sigmoid() if h.multi_label else x[clip].softmax(0)).double().numpy()
                for h, x in zip(heads, logits, strict=True)
            ]
            scored.append(SegmentScores(activated, activated, [y[clip].numpy() for y in labels]))
            name = f"P01_{number}_{clip}"
            segments.append(Segment(name, "P01", "P01", 1, 9, "x", ((),) * len(heads)))
    write_outcome(make_cfg(folder, heads), heads, segments, scored)
    return json.loads((folder / "results.json").read_text())


@EVERY
def test_a_test_writes_results_predictions_table_and_scalars(
    tmp_path: Path, heads: Heads, caplog: pytest.LogCaptureFixture
) -> None:
    results = outcome_of(tmp_path, heads)
    values = {**results, **results.get("ours", {})}
    names = set(validation_metrics(heads))
    assert names < set(values)
    line = logged(caplog, "test_final")
    for name in names:
        assert line[name] == pytest.approx(values[name], rel=1e-5)
        assert scalars(tmp_path, "test")[name] == pytest.approx(values[name], rel=1e-5)
    table = caplog.messages[-1]
    for head in heads:
        assert any(row.startswith(f"{head.name} ") for row in table.splitlines())
    predictions = read_predictions(tmp_path / "predictions.pkl")
    assert predictions.heads == heads
    assert len(predictions) == BATCHES * CLIPS
    logits = torch.cat([answers(heads, number)[0][-1] for number in range(BATCHES)])
    activated = logits.sigmoid() if heads[-1].multi_label else logits.softmax(1)
    expected = activated.double().log().numpy()
    np.testing.assert_allclose(predictions.scores[heads[-1].name], expected, atol=1e-5)
    fused = fuse([predictions, predictions], [1, 3])
    np.testing.assert_allclose(fused.scores[heads[-1].name], expected, atol=1e-5)


def test_a_new_metric_is_reported_by_a_test(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with added(tmp_path, "reciprocal_rank"):
        results = outcome_of(tmp_path, ACTION)
    value = results["ours"]["action_reciprocal_rank"]
    assert 0 < value < 100
    assert logged(caplog, "test_final")["action_reciprocal_rank"] == pytest.approx(value, rel=1e-5)
    assert scalars(tmp_path, "test")["action_reciprocal_rank"] == pytest.approx(value, rel=1e-5)
    assert any(row.startswith("action_reciprocal_rank ") for row in caplog.messages[-1].split("\n"))
