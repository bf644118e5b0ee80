"""The training loop: epochs of steps with their log lines, validation, and when to save."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.announce import announce_trained, announce_training
from slowfast.engine.checkpoint import checkpoint_path
from slowfast.engine.checkpoints.files import BEST
from slowfast.engine.monitor.collected import CollectedScores
from slowfast.engine.monitor.confusion import confusion_pictures, draws_confusion
from slowfast.engine.monitor.epoch_progress import EpochProgress
from slowfast.engine.monitor.meters import StepClock
from slowfast.engine.processes.signals import Interrupted, StopRequests
from slowfast.engine.saving import (
    check_saved,
    checkpoint_now,
    notice_removed_output,
    save,
    stop_at_signal,
    tested_next,
)
from slowfast.engine.solver import lr_at_epoch, set_lr
from slowfast.engine.step.precise_bn import update_batch_norm
from slowfast.engine.training import Training, prepare_training
from slowfast.engine.validation import validate
from slowfast.utils import distributed
from slowfast.utils.logging import log_json_stats
from slowfast.utils.progress import progress_line

logger = logging.getLogger(__name__)


def train(
    cfg: CfgNode, device: torch.device, stop: StopRequests, check_lock: Callable[[], None]
) -> Path | None:
    """Train until SOLVER.MAX_EPOCH; returns the checkpoint that TEST should take, if any.

    check_lock: raises where OUTPUT_DIR is no longer this run's; called before every save.

    A signal ends training after the current step: all ranks write one checkpoint and exit.
    """
    run = prepare_training(cfg, device, stop, check_lock)
    announce_training(run)
    with ExitStack() as ending, stop.deferred():
        for end in (run.train_loader.close, run.val_loader.close, lambda: run.scalars.close()):
            ending.callback(end)
        ending.callback(run.writer.wait)
        ending.enter_context(run.train_loader.naming_lost_workers())
        try:
            while run.progress.epoch < cfg.SOLVER.MAX_EPOCH:
                _run_epoch(run)
        except Interrupted as interrupted:
            stop_at_signal(run, interrupted)
    check_saved(run)
    newest = tested_next(run)
    announce_trained(run, newest)
    return newest


def _run_epoch(run: Training) -> None:
    """Run the rest of an epoch: steps, validation and checkpoint."""
    cfg, epoch = run.cfg, run.progress.epoch
    stats = _train_epoch(run)
    last = epoch + 1 == cfg.SOLVER.MAX_EPOCH
    validating = last or (epoch + 1) % cfg.TRAIN.EVAL_PERIOD == 0
    saving = last or (epoch + 1) % cfg.TRAIN.CHECKPOINT_PERIOD == 0
    if cfg.BN.USE_PRECISE_STATS and (validating or saving):
        update = run.update
        update_batch_norm(
            update.model, update.task, run.train_loader, epoch, cfg, run.device, run.stop.check
        )
    improved = _validate(run) if validating else False
    # Not before the validation: a run that is stopped in it logs the epoch again.
    run.scalars.add("train_epoch", stats, run.steps_at_end)
    if run.pairs is not None:
        run.pairs.write(run.scalars, run.steps_at_end)
    run.progress = EpochProgress(epoch + 1, run.heads)
    paths = [checkpoint_path(cfg.OUTPUT_DIR, epoch + 1)] if saving else []
    if improved:
        paths.append(checkpoint_path(cfg.OUTPUT_DIR, BEST))
    save(run, *paths)


def _train_epoch(run: Training) -> dict[str, Any]:
    """Run the remaining steps of an epoch; returns the statistics of the whole epoch."""
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
            if run.pairs is not None:
                run.pairs.watch(batch, iteration)
            set_lr(run.update.optimizer, lr_at_epoch(cfg, progress.epoch + iteration / steps))
            output, finite = run.update(run.to_device(batch), progress.epoch, iteration)
            scalars = {"loss": output.total, **output.losses, **output.counts}
            progress.window.add(scalars, finite)
            progress.scores.add(output.logits, output.labels, finite)
            progress.watch.add(progress.epoch, iteration, output, finite)
            progress.iteration += 1
            if progress.iteration % cfg.LOG_PERIOD == 0 or progress.iteration == steps:
                _log_period(run, clock, list(output.losses))
                clock.restart()
            else:
                clock.step_done()
            epoch_clock.step_done()
            line.advance()
            if _inside_checkpoint(run):
                save(run, checkpoint_now(run))
            run.stop.check()
    return _log_epoch(run, epoch_clock)


def _inside_checkpoint(run: Training) -> bool:
    period, iteration = run.cfg.TRAIN.CHECKPOINT_PERIOD_ITERS, run.progress.iteration
    return period > 0 and iteration % period == 0 and iteration < run.steps


def _log_period(run: Training, clock: StepClock, losses: list[str]) -> None:
    cfg, progress = run.cfg, run.progress
    # Reading the sums waits for the device, so it comes before the clock.
    means = progress.window.means()
    bad_steps = progress.watch.read()
    progress.scores.to_host()
    clock.step_done()
    done = run.steps_done
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
    if distributed.is_main():
        notice_removed_output(run)
    log_json_stats(logger, stats, shown=progress.scores.latest_top1(), losses=losses)
    run.scalars.add("train", stats, done)
    progress.close_window()
    run.nonfinite.report(bad_steps)


def _log_epoch(run: Training, clock: StepClock) -> dict[str, Any]:
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
    return stats


def _validate(run: Training) -> bool:
    """Log the validation results; True if they are the best so far."""
    collected = CollectedScores(run.heads, logits=run.cfg.TEST.NO_ACT)
    with run.update.evaluated() as model:
        distributed.broadcast_buffers(model)
        numbers = validate(
            model, run.update.task, run.val_loader, run.device, collected, run.stop.check
        )
    stats = {"_type": "val_epoch", "epoch": run.epoch_of_all, **numbers}
    log_json_stats(logger, stats)
    run.scalars.add("val", numbers, run.steps_at_end)
    if draws_confusion(run.cfg):
        pictures = confusion_pictures(collected.confusions(), run.class_names)
        for head, picture in pictures:
            run.scalars.add_picture(f"val_confusion/{head}", picture, run.steps_at_end)
    name = run.best_metric.name
    # Without a labelled segment there are no values.
    value = numbers.get(name, math.nan)
    if not run.best_metric.improves(value, run.best.get(name)):
        return False
    run.best = {name: value, "epoch": run.progress.epoch + 1}
    return True


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
