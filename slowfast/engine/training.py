"""The objects of a training run, and their construction from the config."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.config.heads import HeadSpec
from slowfast.datasets.build import build_dataset
from slowfast.datasets.loading.loader import BatchLoader, build_loader
from slowfast.datasets.names import class_names, evaluated_source
from slowfast.engine.checkpoint import load_initial_weights, resumed_checkpoint
from slowfast.engine.checkpoints.same_data import data_digests
from slowfast.engine.checkpoints.writer import CheckpointWriter
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.engine.monitor.hyperparameters import final_metrics, hyperparameters
from slowfast.engine.monitor.pair_monitor import PairMonitor, build_pair_monitor
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.engine.processes.setup import write_config
from slowfast.engine.processes.signals import StopRequests
from slowfast.engine.resume import TrainingState, load_training
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.batches import DeviceCopies
from slowfast.engine.step.nonfinite import NonFiniteSteps
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.evaluation.metric_names import BestMetric, best_metric
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training
from slowfast.tasks.terms.registry import unused_weights
from slowfast.utils import distributed
from slowfast.utils.logging import IN_SUMMARY

logger = logging.getLogger(__name__)


@dataclass
class Training:
    """The objects of one training run.

    heads: of the view that is validated. progress: of the current epoch. steps: of one epoch.
    best_metric: selects the best checkpoint. best: its best value so far, and its epoch.
    nonfinite: report of non-finite steps. data: digests of the inputs, for a resumed run.
    class_names: per head, for users of a checkpoint. pairs: monitor for TensorBoard, if enabled.
    """

    cfg: CfgNode
    heads: tuple[HeadSpec, ...]
    device: torch.device
    update: Update
    to_device: DeviceCopies
    train_loader: BatchLoader[Any]
    val_loader: BatchLoader[Any]
    data: Mapping[str, str]
    scalars: ScalarWriter
    writer: CheckpointWriter
    stop: StopRequests
    check_lock: Callable[[], None]
    progress: EpochProgress
    nonfinite: NonFiniteSteps
    best_metric: BestMetric
    class_names: dict[str, tuple[str, ...]]
    best: dict[str, float] = field(default_factory=dict)
    pairs: PairMonitor | None = None

    @property
    def steps(self) -> int:
        return self.train_loader.sampler.batches_per_epoch

    @property
    def steps_done(self) -> int:
        """Optimizer steps of all epochs so far, the step of every scalar in TensorBoard."""
        return self.progress.epoch * self.steps + self.progress.iteration

    @property
    def steps_at_end(self) -> int:
        """`steps_done` at the end of the current epoch."""
        return (self.progress.epoch + 1) * self.steps

    @property
    def epoch_of_all(self) -> str:
        return f"{self.progress.epoch + 1}/{self.cfg.SOLVER.MAX_EPOCH}"


def prepare_training(
    cfg: CfgNode, device: torch.device, stop: StopRequests, check_lock: Callable[[], None]
) -> Training:
    """Build data, model and optimizer, resume from a checkpoint if there is one, write the config.

    Raises: UserError for anything in the config, the data or the checkpoint that does not fit.
    """
    world = distributed.world_size()
    spec = model_spec(cfg)
    train_set, val_set = (
        build_dataset(cfg.TRAIN.DATASET, cfg, split, spec.view, spec.heads(cfg))
        for split in ("train", "val")
    )
    train_loader = build_loader(cfg, train_set, "train", distributed.rank(), world)
    val_loader = build_loader(cfg, val_set, "val", distributed.rank(), world)
    _log_batch_size(cfg)
    data = data_digests(train_set, val_set)
    resumed = resumed_checkpoint(cfg)
    update = _build_update(cfg, device, with_initial_weights=resumed is None)
    heads = spec.heads(cfg)
    if resumed is None:
        state = TrainingState(EpochProgress(0, heads))
    else:
        state = load_training(cfg, device, update, resumed, data)
    steps = train_loader.sampler.batches_per_epoch
    done = state.progress.epoch * steps + state.progress.iteration
    keep, keep_every = cfg.TRAIN.CHECKPOINT_KEEP, cfg.TRAIN.CHECKPOINT_KEEP_EVERY
    run = Training(
        cfg=cfg,
        heads=heads,
        device=device,
        update=update,
        to_device=DeviceCopies(device),
        train_loader=train_loader,
        val_loader=val_loader,
        data=data,
        scalars=ScalarWriter(cfg, done),
        writer=CheckpointWriter(cfg.OUTPUT_DIR, keep, keep_every, resumed, check_lock),
        stop=stop,
        check_lock=check_lock,
        progress=state.progress,
        nonfinite=NonFiniteSteps(cfg.SOLVER.SKIP_NONFINITE, train_loader, cfg.OUTPUT_DIR),
        best_metric=best_metric(heads, cfg.TRAIN.BEST_METRIC),
        class_names=class_names(cfg, spec.view, heads),
        best=state.best,
        pairs=build_pair_monitor(cfg, train_set),
    )
    run.nonfinite.skipped = state.nonfinite_skipped
    write_config(cfg)
    if distributed.is_main():
        for view in spec.views:
            evaluated_source(cfg, view).write_down(Path(cfg.OUTPUT_DIR))
    _log_size(run)
    run.scalars.add_hparams(hyperparameters(cfg), final_metrics(cfg, heads))
    return run


def _build_update(cfg: CfgNode, device: torch.device, with_initial_weights: bool) -> Update:
    if unused := unused_weights(cfg):
        logger.warning("%s", unused)
    model, task = build_training(cfg)
    if with_initial_weights:
        load_initial_weights(model, cfg)
    model.to(device)
    optimizer = build_optimizer(model, cfg)
    set_precision(model, cfg.TRAIN.PRECISION, device)
    stepped = distributed.data_parallel(model, device)
    return Update(model, stepped, task, optimizer, update_options(cfg))


def _log_batch_size(cfg: CfgNode) -> None:
    world = distributed.world_size()
    logger.info(
        "TRAIN.BATCH_SIZE %d over %d process(es): %d clips each; PySlowFast, which counts per "
        "machine, would call it %d",
        cfg.TRAIN.BATCH_SIZE,
        world,
        cfg.TRAIN.BATCH_SIZE // world,
        cfg.TRAIN.BATCH_SIZE // distributed.machine_count(),
        extra={IN_SUMMARY: True},
    )


def _log_size(run: Training) -> None:
    parameters = list(run.update.model.parameters())
    logger.info(
        "%s: %.2f M parameters, %.2f M trained; %d segments, %d steps an epoch",
        run.cfg.MODEL.MODEL_NAME,
        sum(p.numel() for p in parameters) / 1e6,
        sum(p.numel() for p in parameters if p.requires_grad) / 1e6,
        len(run.train_loader.dataset),
        run.steps,
        extra={IN_SUMMARY: True},
    )
