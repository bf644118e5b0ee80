"""Lines that a run logs before training, before a test, and at its end."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from slowfast.config.derived import data_workers
from slowfast.config.exo_sources import exo_sources
from slowfast.datasets.build import VideoDataset
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.engine.training import Training
from slowfast.evaluation.metric_names import BestMetric
from slowfast.models.registry import model_spec
from slowfast.utils import distributed
from slowfast.utils.paths import InputPath

logger = logging.getLogger(__name__)


def announce_training(run: Training) -> None:
    """Log what will be trained, on which data, for how long, and where results are written."""
    rows = {
        "data": _data(run),
        "pairs": _pairs(run),
        "model": _model(run),
        "start": _start(run),
        "devices": _devices(run.cfg, run.device, run.cfg.TRAIN.PRECISION),
        "batch": _batch(run),
        "schedule": _schedule(run),
        "validation": _validation(run.cfg, run.best_metric),
        "checkpoints": f"every {_count(run.cfg.TRAIN.CHECKPOINT_PERIOD, 'epoch')}",
        "results": _results(run.cfg),
    }
    logger.info("training\n%s", _table(rows))


def announce_trained(run: Training, newest: Path | None) -> None:
    """Log the outcome of training. newest: the checkpoint that a test uses."""
    best = {name: value for name, value in run.best.items() if name != "epoch"}
    named = ", ".join(f"{name} {value:.2f}" for name, value in best.items())
    rows = {
        "best": f"{named} after epoch {run.best['epoch']}" if named else "no validation yet",
        "checkpoint": str(newest or "none, as this run wrote none"),
    }
    logger.info("trained\n%s", _table(rows))


def announce_test(
    cfg: CfgNode,
    datasets: Mapping[str, VideoDataset],
    checkpoint: InputPath,
    device: torch.device,
) -> None:
    """Log what will be tested, on which data, and where results are written.

    datasets: the segments of each view (ego, exo) under test.
    """
    test = cfg.TEST
    heads = ", ".join(f"{head.name} {head.num_classes}" for head in model_spec(cfg).heads(cfg))
    views = f"{test.NUM_ENSEMBLE_VIEWS} x {test.NUM_SPATIAL_CROPS} of each segment"
    outcomes = {"recognition": "results.json", "features": "features/"}
    outcome = outcomes.get(test.TASK, f"results_{test.TASK}.json")
    rows = {
        "task": test.TASK,
        "data": ", ".join(f"{len(part)} {view} segments" for view, part in datasets.items()),
        "views": "all stored ones" if cfg.TRAIN.ON_FEATURES else views,
        "model": f"{cfg.MODEL.MODEL_NAME} on {cfg.MODEL.BACKBONE}; classes: {heads}",
        "weights": str(checkpoint),
        "devices": _devices(cfg, device, test.PRECISION),
        "results": f"{cfg.OUTPUT_DIR}: log.txt, config.yaml, {outcome}",
    }
    logger.info("test\n%s", _table(rows))


def announce_end(cfg: CfgNode) -> None:
    """Log the commands that are usually next after training or a test."""
    folder = Path(cfg.OUTPUT_DIR)
    named, run = shlex.quote(str(folder / "config.yaml")), shlex.quote(str(folder))
    rows = {}
    if not cfg.TEST.ENABLE:
        test = "TRAIN.ENABLE False TEST.ENABLE True"
        rows["test it"] = f"python tools/run_net.py --cfg {named} {test}"
    rows["look at it"] = f"python tools/report.py {run}"
    rows["compare runs"] = f"python tools/summarize.py {run} OTHER"
    if not cfg.TRAIN.ON_FEATURES:
        rows["label a video"] = f"python tools/predict.py VIDEO --cfg {named}"
        rows["export it"] = f"python tools/export.py {run}/checkpoints/NAME.pyth"
    logger.info("next\n%s", _table(rows))


def _table(rows: dict[str, str]) -> str:
    width = max(map(len, rows))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows.items() if text)


def _data(run: Training) -> str:
    train, val = run.train_loader.dataset, run.val_loader.dataset
    names = run.cfg.TRAIN.DATASET
    if isinstance(train, EgoExoDataset):
        exo = ", ".join(source.cfg.EXO.DATASET for source in exo_sources(run.cfg))
        names = f"{run.cfg.EGO.DATASET} with {len(train.exo)} exo clips of {exo}"
    return f"{len(train)} segments of {names}; {len(val)} for validation"


def _pairs(run: Training) -> str:
    dataset = run.train_loader.dataset
    if not isinstance(dataset, EgoExoDataset):
        return ""
    kind = "shuffled, for a control" if run.cfg.SUML.PAIRS.SHUFFLE else run.cfg.SUML.PAIRS.MINING
    paired = sum(dataset.pairs.has_candidate(index) for index in range(len(dataset)))
    return f"{paired} segments have exo partners ({kind}), {run.cfg.SUML.PAIRS.FILE}"


def _model(run: Training) -> str:
    model = run.cfg.MODEL
    parameters = list(run.update.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad) / 1e6
    every = sum(p.numel() for p in parameters) / 1e6
    heads = ", ".join(f"{head.name} {head.num_classes}" for head in run.heads)
    return (
        f"{model.MODEL_NAME} on {model.BACKBONE}, {every:.1f} M parameters, {trained:.1f} M "
        f"trained; classes: {heads}"
    )


def _start(run: Training) -> str:
    cfg = run.cfg
    if run.steps_done:
        return f"resumed at epoch {run.epoch_of_all}, step {run.progress.iteration}/{run.steps}"
    named = {
        "ego": cfg.TRAIN.CHECKPOINT_FILE_PATH,
        "exo": cfg.EXO.CHECKPOINT_FILE_PATH,
    }
    found = [f"{half} from {path}" for half, path in named.items() if path]
    return ", ".join(found) or "random weights"


def _devices(cfg: CfgNode, device: torch.device, precision: str) -> str:
    processes = _count(distributed.world_size(), "process", "processes")
    workers = data_workers(cfg)
    data = f"with {_count(workers, 'worker')} for data" if workers else "without workers for data"
    return f"{processes} {data} on {device.type}, {precision}"


def _batch(run: Training) -> str:
    size, world = run.cfg.TRAIN.BATCH_SIZE, distributed.world_size()
    parts = f" in {run.cfg.SOLVER.ACCUMULATE} parts" if run.cfg.SOLVER.ACCUMULATE > 1 else ""
    return f"{_count(size, 'clip')}, {size // world} in each process{parts}"


def _schedule(run: Training) -> str:
    solver = run.cfg.SOLVER
    warmup = f", {solver.WARMUP_EPOCHS:g} of them warm-up" if solver.WARMUP_EPOCHS else ""
    length = f"{_count(solver.MAX_EPOCH, 'epoch')} of {_count(run.steps, 'step')}{warmup}"
    rate = f"learning rate {solver.BASE_LR:g} ({solver.LR_POLICY})"
    return f"{length}; {solver.OPTIMIZING_METHOD}, {rate}"


def _validation(cfg: CfgNode, best: BestMetric) -> str:
    return f"every {_count(cfg.TRAIN.EVAL_PERIOD, 'epoch')}; the best checkpoint by {best.name}"


def _results(cfg: CfgNode) -> str:
    board = ", tensorboard/" if cfg.TENSORBOARD.ENABLE else ""
    return f"{cfg.OUTPUT_DIR}: log.txt, metrics.jsonl, config.yaml, checkpoints/{board}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
