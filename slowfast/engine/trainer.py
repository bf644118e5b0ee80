"""The training loop: epochs of steps, validation, checkpoints, automatic resume."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slowfast.datasets.build import build_dataset
from slowfast.datasets.loader import BatchLoader, build_loader
from slowfast.engine.checkpoint import (
    checkpoint_path,
    load_initial_weights,
    load_training_state,
    newest_checkpoint,
    save_checkpoint,
)
from slowfast.engine.meters import StepClock, TensorSums
from slowfast.engine.precise_bn import update_batch_norm
from slowfast.engine.progress import progress_line
from slowfast.engine.scalars import ScalarWriter
from slowfast.engine.solver import build_optimizer, lr_at_epoch, set_lr
from slowfast.engine.validation import TopKCounts, validate
from slowfast.models.build import build_model
from slowfast.tasks.base import Task
from slowfast.tasks.build import build_task
from slowfast.utils import distributed
from slowfast.utils.logging import log_json_stats

logger = logging.getLogger(__name__)


@dataclass
class Training:
    """Everything one training run holds.

    best: the best value of the named metric so far, and its epoch.
    newest: the checkpoint of an epoch that was written or resumed from last (rank 0 knows).
    """

    cfg: CfgNode
    device: torch.device
    model: nn.Module
    stepped: nn.Module
    task: Task
    optimizer: torch.optim.Optimizer
    train_loader: BatchLoader[Any]
    val_loader: BatchLoader[Any]
    scalars: ScalarWriter
    best: dict[str, float] = field(default_factory=dict)
    newest: Path | None = None


def train(cfg: CfgNode, device: torch.device) -> Path | None:
    """Train until SOLVER.MAX_EPOCH; returns the checkpoint that TEST should take, if any."""
    run, start_epoch = _prepare(cfg, device)
    for epoch in range(start_epoch, cfg.SOLVER.MAX_EPOCH):
        _train_epoch(run, epoch)
        last = epoch + 1 == cfg.SOLVER.MAX_EPOCH
        validating = last or (epoch + 1) % cfg.TRAIN.EVAL_PERIOD == 0
        saving = last or (epoch + 1) % cfg.TRAIN.CHECKPOINT_PERIOD == 0
        if cfg.BN.USE_PRECISE_STATS and (validating or saving):
            update_batch_norm(run.model, run.task, run.train_loader, epoch, cfg, device)
        improved = _validate(run, epoch) if validating else False
        if saving:
            _save(run, checkpoint_path(cfg.OUTPUT_DIR, epoch + 1), epoch)
        if improved:
            _save(run, checkpoint_path(cfg.OUTPUT_DIR, "best"), epoch)
    run.scalars.close()
    run.train_loader.close()
    run.val_loader.close()
    return _to_test(run)


def _prepare(cfg: CfgNode, device: torch.device) -> tuple[Training, int]:
    world = distributed.world_size()
    train_set = build_dataset(cfg.TRAIN.DATASET, cfg, "train")
    val_set = build_dataset(cfg.TRAIN.DATASET, cfg, "val")
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
    model = build_model(cfg)
    newest = newest_checkpoint(cfg) if cfg.TRAIN.AUTO_RESUME else None
    given = Path(cfg.TRAIN.CHECKPOINT_FILE_PATH) if cfg.TRAIN.RESUME else None
    resumed = newest or given
    if resumed is None:
        load_initial_weights(model, cfg)
    model.to(device)
    optimizer = build_optimizer(model, cfg)
    start_epoch, extra = 0, dict[str, Any]()
    if resumed is not None:
        start_epoch, extra = load_training_state(resumed, model, optimizer)
        logger.info("resumed from %s: epoch %d is next", resumed, start_epoch + 1)
    if start_epoch >= cfg.SOLVER.MAX_EPOCH:
        logger.warning(
            "%s has finished all SOLVER.MAX_EPOCH %d epochs: nothing is trained; set another "
            "OUTPUT_DIR to start anew",
            resumed,
            cfg.SOLVER.MAX_EPOCH,
        )
    run = Training(
        cfg=cfg,
        device=device,
        model=model,
        stepped=_distributed(model, device),
        task=build_task(cfg),
        optimizer=optimizer,
        train_loader=train_loader,
        val_loader=val_loader,
        scalars=ScalarWriter(cfg),
        best=extra.get("best", {}),
        newest=resumed,
    )
    logger.info(
        "%s: %.2f M parameters, %.2f M trained; %d segments, %d steps an epoch",
        cfg.MODEL.MODEL_NAME,
        sum(p.numel() for p in model.parameters()) / 1e6,
        sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6,
        len(train_set),
        len(train_loader),
    )
    return run, start_epoch


def _distributed(model: nn.Module, device: torch.device) -> nn.Module:
    if distributed.world_size() == 1:
        return model
    return DistributedDataParallel(
        model, device_ids=[device.index] if device.type == "cuda" else None
    )


def _train_epoch(run: Training, epoch: int) -> None:
    cfg = run.cfg
    run.stepped.train()
    run.train_loader.set_epoch(epoch)
    steps = len(run.train_loader)
    window, whole, counts = TensorSums(), TensorSums(), TopKCounts()
    clock, epoch_clock = StepClock(), StepClock()
    with progress_line(f"epoch {epoch + 1}/{cfg.SOLVER.MAX_EPOCH}", steps, "steps") as line:
        for iteration, batch in enumerate(run.train_loader):
            clock.data_arrived()
            epoch_clock.data_arrived()
            set_lr(run.optimizer, lr_at_epoch(cfg, epoch + iteration / steps))
            output = run.task.step(run.stepped, batch.to(run.device), epoch, iteration)
            run.optimizer.zero_grad(set_to_none=True)
            output.total.backward()
            run.optimizer.step()
            for sums in (window, whole):
                sums.add({"loss": output.total, **output.losses, **output.counts})
            counts.add(output.logits, output.labels)
            logging_now = (iteration + 1) % cfg.LOG_PERIOD == 0 or iteration + 1 == steps
            # Reading the sums waits for the device, so it comes before the clocks.
            means = window.means() if logging_now else {}
            clock.step_done()
            epoch_clock.step_done()
            text = ""
            if logging_now:
                stats = _log_period(run, means, clock, epoch, iteration)
                losses = ", ".join(f"{name} {stats[name]:.2f}" for name in ("loss", *output.losses))
                text = f"{losses}; data wait {stats['data_wait']:.0%}"
                window = TensorSums()
                clock.restart()
            line.advance(text)
    _log_epoch(run, whole, counts, epoch_clock, epoch)


def _log_period(
    run: Training, means: dict[str, float], clock: StepClock, epoch: int, iteration: int
) -> dict[str, Any]:
    cfg, steps = run.cfg, len(run.train_loader)
    done = epoch * steps + iteration + 1
    stats = {
        "_type": "train_iter",
        "epoch": f"{epoch + 1}/{cfg.SOLVER.MAX_EPOCH}",
        "iter": f"{iteration + 1}/{steps}",
        "lr": run.optimizer.param_groups[0]["lr"],
        **means,
        "sec_per_step": clock.sec_per_step,
        "data_wait": clock.data_wait_share,
        "eta_sec": round(clock.sec_per_step * (cfg.SOLVER.MAX_EPOCH * steps - done)),
        "memory_gib": _peak_memory_gib(run.device),
    }
    log_json_stats(logger, stats)
    run.scalars.add("train", stats, done)
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        raise FloatingPointError(
            f"{', '.join(bad)} not finite in epoch {epoch + 1} within the last "
            f"{cfg.LOG_PERIOD} steps up to {iteration + 1}: {means}"
        )
    return stats


def _log_epoch(
    run: Training, whole: TensorSums, counts: TopKCounts, clock: StepClock, epoch: int
) -> None:
    stats = {
        "_type": "train_epoch",
        "epoch": f"{epoch + 1}/{run.cfg.SOLVER.MAX_EPOCH}",
        **whole.means(),
        **counts.percentages(),
        "sec_per_step": clock.sec_per_step,
        "data_wait": clock.data_wait_share,
        "sec": clock.elapsed_sec,
    }
    log_json_stats(logger, stats)
    run.scalars.add("train_epoch", stats, epoch + 1)


def _validate(run: Training, epoch: int) -> bool:
    """Log the validation numbers; True where they are the best so far."""
    distributed.broadcast_buffers(run.model)
    numbers = validate(run.model, run.task, run.val_loader, run.device)
    stats = {"_type": "val_epoch", "epoch": f"{epoch + 1}/{run.cfg.SOLVER.MAX_EPOCH}", **numbers}
    log_json_stats(logger, stats)
    run.scalars.add("val", numbers, epoch + 1)
    name = next(name for name in ("action_top1", "mAP", "top1") if name in numbers)
    if numbers[name] <= run.best.get(name, -math.inf):
        return False
    run.best = {name: numbers[name], "epoch": epoch + 1}
    return True


def _save(run: Training, path: Path, epoch: int) -> None:
    """Rank 0 writes; where the disk refuses, earlier checkpoints are whole and training goes on."""
    if not distributed.is_main():
        return
    try:
        save_checkpoint(
            path,
            model=run.model,
            optimizer=run.optimizer,
            epoch=epoch,
            cfg_text=run.cfg.dump(),
            extra={"best": run.best},
        )
    except OSError as error:
        logger.error("%s COULD NOT BE WRITTEN, training goes on without it: %s", path, error)
        return
    logger.info("wrote %s", path)
    if path.stem != "checkpoint_best":
        run.newest = path


def _to_test(run: Training) -> Path | None:
    best = checkpoint_path(run.cfg.OUTPUT_DIR, "best")
    taken = best if run.cfg.TEST.LOAD_BEST and best.is_file() else run.newest
    path: Path | None = distributed.broadcast_object(taken)
    return path


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
