"""The training loop: epochs of steps, validation, checkpoints, automatic resume."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.config.heads import HeadSpec
from slowfast.datasets.build import build_dataset
from slowfast.datasets.loading.loader import BatchLoader, build_loader
from slowfast.datasets.names import class_names
from slowfast.engine.checkpoint import (
    checkpoint_content,
    checkpoint_path,
    load_initial_weights,
    load_training_state,
    resumed_checkpoint,
)
from slowfast.engine.checkpoints.files import BEST
from slowfast.engine.checkpoints.writer import CheckpointWriter
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.engine.monitor.meters import StepClock
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.engine.processes.setup import write_config
from slowfast.engine.processes.signals import Interrupted, StopRequests, exit_status
from slowfast.engine.solver import build_optimizer, lr_at_epoch, set_lr
from slowfast.engine.step.batches import DeviceCopies
from slowfast.engine.step.nonfinite import NonFiniteSteps
from slowfast.engine.step.precise_bn import update_batch_norm
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.engine.validation import validate
from slowfast.evaluation.metric_names import BestMetric, best_metric
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training
from slowfast.tasks.terms.registry import unused_weights
from slowfast.utils import distributed
from slowfast.utils.logging import log_json_stats
from slowfast.utils.progress import progress_line

logger = logging.getLogger(__name__)


@dataclass
class Training:
    """Everything one training run holds.

    heads: of the view that is validated. progress: of the current epoch. steps: of one epoch.
    best_metric: selects the best checkpoint. best: its best value so far, and the epoch of it.
    nonfinite: says which steps did not count. class_names: per head, for users of a checkpoint.
    """

    cfg: CfgNode
    heads: tuple[HeadSpec, ...]
    device: torch.device
    update: Update
    to_device: DeviceCopies
    train_loader: BatchLoader[Any]
    val_loader: BatchLoader[Any]
    scalars: ScalarWriter
    writer: CheckpointWriter
    stop: StopRequests
    check_lock: Callable[[], None]
    progress: EpochProgress
    nonfinite: NonFiniteSteps
    best_metric: BestMetric
    class_names: dict[str, tuple[str, ...]]
    best: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return self.train_loader.sampler.batches_per_epoch

    @property
    def epoch_of_all(self) -> str:
        return f"{self.progress.epoch + 1}/{self.cfg.SOLVER.MAX_EPOCH}"


def train(
    cfg: CfgNode, device: torch.device, stop: StopRequests, check_lock: Callable[[], None]
) -> Path | None:
    """Train until SOLVER.MAX_EPOCH; returns the checkpoint that TEST should take, if any.

    check_lock: raises where OUTPUT_DIR is no longer this training's; called before every save.

    A signal ends the training after the current step: all ranks write one checkpoint and exit.
    """
    run = _prepare(cfg, device, stop, check_lock)
    with ExitStack() as ending, stop.deferred():
        for end in (run.train_loader.close, run.val_loader.close, run.scalars.close):
            ending.callback(end)
        ending.callback(run.writer.wait)
        ending.enter_context(run.train_loader.naming_lost_workers())
        try:
            while run.progress.epoch < cfg.SOLVER.MAX_EPOCH:
                _run_epoch(run)
        except Interrupted as interrupted:
            _stop(run, interrupted)
    return _to_test(run)


def _run_epoch(run: Training) -> None:
    """The rest of an epoch: its steps, its validation, its checkpoint."""
    cfg, epoch = run.cfg, run.progress.epoch
    _train_epoch(run)
    last = epoch + 1 == cfg.SOLVER.MAX_EPOCH
    validating = last or (epoch + 1) % cfg.TRAIN.EVAL_PERIOD == 0
    saving = last or (epoch + 1) % cfg.TRAIN.CHECKPOINT_PERIOD == 0
    if cfg.BN.USE_PRECISE_STATS and (validating or saving):
        update = run.update
        update_batch_norm(
            update.model, update.task, run.train_loader, epoch, cfg, run.device, run.stop.check
        )
    improved = _validate(run) if validating else False
    run.progress = EpochProgress(epoch + 1, run.heads)
    paths = [checkpoint_path(cfg.OUTPUT_DIR, epoch + 1)] if saving else []
    if improved:
        paths.append(checkpoint_path(cfg.OUTPUT_DIR, BEST))
    _save(run, *paths)


def _prepare(
    cfg: CfgNode, device: torch.device, stop: StopRequests, check_lock: Callable[[], None]
) -> Training:
    world = distributed.world_size()
    spec = model_spec(cfg)
    train_set, val_set = (
        build_dataset(cfg.TRAIN.DATASET, cfg, split, spec.view, spec.heads(cfg))
        for split in ("train", "val")
    )
    train_loader = build_loader(cfg, train_set, "train", distributed.rank(), world)
    val_loader = build_loader(cfg, val_set, "val", distributed.rank(), world)
    logger.info(
        "TRAIN.BATCH_SIZE %d over %d process(es): %d clips each; PySlowFast, which counts per "
        "machine, would call it %d",
        cfg.TRAIN.BATCH_SIZE,
        world,
        cfg.TRAIN.BATCH_SIZE // world,
        cfg.TRAIN.BATCH_SIZE // distributed.machine_count(),
    )
    resumed = resumed_checkpoint(cfg)
    update = _build_update(cfg, device, with_initial_weights=resumed is None)
    model, heads = update.model, model_spec(cfg).heads(cfg)
    progress, extra = EpochProgress(0, heads), dict[str, Any]()
    if resumed is not None:
        progress, extra = _load_state(cfg, device, update, resumed)
    keep, keep_every = cfg.TRAIN.CHECKPOINT_KEEP, cfg.TRAIN.CHECKPOINT_KEEP_EVERY
    run = Training(
        cfg=cfg,
        heads=heads,
        device=device,
        update=update,
        to_device=DeviceCopies(device),
        train_loader=train_loader,
        val_loader=val_loader,
        scalars=ScalarWriter(cfg),
        writer=CheckpointWriter(cfg.OUTPUT_DIR, keep, keep_every, newest=resumed),
        stop=stop,
        check_lock=check_lock,
        progress=progress,
        nonfinite=NonFiniteSteps(cfg.SOLVER.SKIP_NONFINITE, train_loader, cfg.OUTPUT_DIR),
        best_metric=best_metric(heads, cfg.TRAIN.BEST_METRIC),
        class_names=class_names(cfg, spec.view, heads),
        best=extra.get("best", {}),
    )
    run.nonfinite.skipped = extra.get("nonfinite_skipped", 0)
    write_config(cfg)
    logger.info(
        "%s: %.2f M parameters, %.2f M trained; %d segments, %d steps an epoch",
        cfg.MODEL.MODEL_NAME,
        sum(p.numel() for p in model.parameters()) / 1e6,
        sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6,
        len(train_set),
        run.steps,
    )
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


def _load_state(
    cfg: CfgNode, device: torch.device, update: Update, path: Path
) -> tuple[EpochProgress, dict[str, Any]]:
    """Load the training at `path` into `update`: its progress, and what else the file holds."""
    epoch, extra = load_training_state(path, update.model, update.optimizer, cfg)
    progress = EpochProgress(epoch, model_spec(cfg).heads(cfg))
    if "progress" in extra:
        progress.load_gathered_state(extra["progress"], device)
    update.load_state_dict(extra.get("update", {}))
    logger.info(
        "resumed from %s: %d epoch(s) and %d step(s) are done", path, epoch, progress.iteration
    )
    if epoch >= cfg.SOLVER.MAX_EPOCH and distributed.is_main():
        logger.warning(
            "%s has finished all SOLVER.MAX_EPOCH %d epochs: nothing is trained; set another "
            "OUTPUT_DIR to start again",
            path,
            cfg.SOLVER.MAX_EPOCH,
        )
    return progress, extra


def _train_epoch(run: Training) -> None:
    cfg, progress, steps = run.cfg, run.progress, run.steps
    run.update.stepped.train()
    run.train_loader.set_epoch(progress.epoch, progress.iteration)
    clock, epoch_clock = StepClock(), StepClock()
    with progress_line(f"epoch {run.epoch_of_all}", steps, "steps") as line:
        line.advance(progress.iteration)
        for batch in run.train_loader:
            clock.data_arrived()
            epoch_clock.data_arrived()
            iteration = progress.iteration
            set_lr(run.update.optimizer, lr_at_epoch(cfg, progress.epoch + iteration / steps))
            output, finite = run.update(run.to_device(batch), progress.epoch, iteration)
            scalars = {"loss": output.total, **output.losses, **output.counts}
            progress.window.add(scalars, finite)
            progress.scores.add(output.logits, output.labels, finite)
            progress.watch.add(progress.epoch, iteration, output, finite)
            progress.iteration += 1
            text = ""
            if progress.iteration % cfg.LOG_PERIOD == 0 or progress.iteration == steps:
                stats = _log_period(run, clock)
                losses = ", ".join(
                    f"{name} {stats[name]:.2f}"
                    for name in ("loss", *output.losses)
                    if name in stats
                )
                text = f"{losses}; data wait {stats['data_wait']:.0%}"
                clock.restart()
            else:
                clock.step_done()
            epoch_clock.step_done()
            line.advance(text=text)
            if _inside_checkpoint(run):
                _save(run, _checkpoint_now(run))
            run.stop.check()
    _log_epoch(run, epoch_clock)


def _inside_checkpoint(run: Training) -> bool:
    period, iteration = run.cfg.TRAIN.CHECKPOINT_PERIOD_ITERS, run.progress.iteration
    return period > 0 and iteration % period == 0 and iteration < run.steps


def _log_period(run: Training, clock: StepClock) -> dict[str, Any]:
    cfg, progress = run.cfg, run.progress
    # Reading the sums waits for the device, so it comes before the clock.
    means = progress.window.means()
    bad_steps = progress.watch.read()
    progress.scores.to_host()
    clock.step_done()
    done = progress.epoch * run.steps + progress.iteration
    stats = {
        "_type": "train_iter",
        "epoch": run.epoch_of_all,
        "iter": f"{progress.iteration}/{run.steps}",
        "lr": run.update.optimizer.param_groups[0]["lr"],
        **means,
        "sec_per_step": clock.sec_per_step,
        "data_wait": clock.data_wait_share,
        "eta_sec": round(clock.sec_per_step * (cfg.SOLVER.MAX_EPOCH * run.steps - done)),
        "memory_gib": _peak_memory_gib(run.device),
    }
    log_json_stats(logger, stats)
    run.scalars.add("train", stats, done)
    progress.close_window()
    run.nonfinite.report(bad_steps)
    return stats


def _log_epoch(run: Training, clock: StepClock) -> None:
    progress = run.progress
    stats = {
        "_type": "train_epoch",
        "epoch": run.epoch_of_all,
        **progress.whole.means(),
        **progress.scores.values(),
        "sec_per_step": clock.sec_per_step,
        "data_wait": clock.data_wait_share,
        "sec": clock.elapsed_sec,
    }
    log_json_stats(logger, stats)
    run.scalars.add("train_epoch", stats, progress.epoch + 1)


def _validate(run: Training) -> bool:
    """Log the validation numbers; True where they are the best so far."""
    collected = CollectedScores(run.heads, logits=run.cfg.TEST.NO_ACT)
    with run.update.evaluated() as model:
        distributed.broadcast_buffers(model)
        numbers = validate(
            model, run.update.task, run.val_loader, run.device, collected, run.stop.check
        )
    stats = {"_type": "val_epoch", "epoch": run.epoch_of_all, **numbers}
    log_json_stats(logger, stats)
    run.scalars.add("val", numbers, run.progress.epoch + 1)
    name = run.best_metric.name
    # Without a labelled segment there are no values.
    value = numbers.get(name, math.nan)
    if not run.best_metric.improves(value, run.best.get(name)):
        return False
    run.best = {name: value, "epoch": run.progress.epoch + 1}
    return True


def _checkpoint_now(run: Training) -> Path:
    return checkpoint_path(run.cfg.OUTPUT_DIR, run.progress.epoch, run.progress.iteration)


def _save(run: Training, *paths: Path) -> None:
    """Called on every rank; rank 0 writes, in the background."""
    if not paths:
        return
    extra = {
        "best": run.best,
        "update": run.update.state_dict(),
        "nonfinite_skipped": run.nonfinite.skipped,
        "class_names": run.class_names,
    }
    if run.progress.iteration:
        extra["progress"] = run.progress.gathered_state()
    if not distributed.is_main():
        return
    run.check_lock()
    content = checkpoint_content(
        model=run.update.model,
        optimizer=run.update.optimizer,
        epoch=run.progress.epoch - 1,
        cfg_text=run.cfg.dump(),
        extra=extra,
    )
    run.writer.write(content, *paths)


def _stop(run: Training, interrupted: Interrupted) -> None:
    """Write where the training is, and exit when it is on the disk."""
    path = _checkpoint_now(run)
    _save(run, path)
    run.writer.wait()
    distributed.barrier()
    if distributed.is_main():
        newest = run.writer.newest
        how = "the same command resumes from"
        if not run.cfg.TRAIN.AUTO_RESUME:
            how = "with TRAIN.RESUME True, TRAIN.CHECKPOINT_FILE_PATH resumes from"
        logger.warning(
            "stopped by %s in epoch %d after step %d; %s %s",
            interrupted,
            run.progress.epoch + 1,
            run.progress.iteration,
            how,
            path if newest == path else f"{newest}, as this step could not be saved",
        )
    sys.exit(exit_status(interrupted.signum))


def _to_test(run: Training) -> Path | None:
    best = checkpoint_path(run.cfg.OUTPUT_DIR, BEST)
    taken = best if run.cfg.TEST.LOAD_BEST and best.is_file() else run.writer.newest
    path: Path | None = distributed.broadcast_object(taken)
    return path


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
