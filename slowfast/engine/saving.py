"""Checkpoints of a training run: content, saving at a signal, and disk errors."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from slowfast.engine.checkpoint import checkpoint_content, checkpoint_path
from slowfast.engine.checkpoints.files import BEST
from slowfast.engine.checkpoints.same_data import DATA
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.engine.processes.setup import restore_output
from slowfast.engine.processes.signals import Interrupted
from slowfast.engine.training import Training
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.stop_signals import exit_status

logger = logging.getLogger(__name__)


def checkpoint_now(run: Training) -> Path:
    """Path of a checkpoint inside the current epoch, after the latest step."""
    return checkpoint_path(run.cfg.OUTPUT_DIR, run.progress.epoch, run.progress.iteration)


def save(run: Training, *paths: Path) -> None:
    """Save the run at `paths`. Called on every rank; rank 0 writes, in the background."""
    if not paths:
        return
    extra = {
        DATA: dict(run.data),
        "processes": distributed.world_size(),
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
    notice_removed_output(run)
    content = checkpoint_content(
        model=run.update.model,
        optimizer=run.update.optimizer,
        epoch=run.progress.epoch - 1,
        cfg_text=run.cfg.dump(),
        extra=extra,
    )
    run.writer.write(content, *paths)


def notice_removed_output(run: Training) -> None:
    """On rank 0: detect that OUTPUT_DIR was removed, and restore its log and config."""
    if restore_output(run.cfg):
        run.scalars.close()
        run.scalars = ScalarWriter(run.cfg, run.steps_done)


def stop_at_signal(run: Training, interrupted: Interrupted) -> None:
    """Save a checkpoint, and exit when it is on the disk."""
    path = checkpoint_now(run)
    save(run, path)
    run.writer.wait()
    distributed.barrier()
    if distributed.is_main():
        unsaved = "" if run.writer.newest == path else "this step could not be saved; "
        logger.warning(
            "stopped by %s in epoch %d after step %d; %s%s",
            interrupted,
            run.progress.epoch + 1,
            run.progress.iteration,
            unsaved,
            _continuation(run),
        )
    sys.exit(exit_status(interrupted.signum))


def _continuation(run: Training) -> str:
    """Description of what the next start will do, for the log."""
    newest = run.writer.newest
    if newest is None:
        return "no checkpoint was saved, so the same command starts from the beginning"
    if run.cfg.TRAIN.AUTO_RESUME:
        return f"the same command resumes from {newest}"
    return f"with TRAIN.RESUME True, TRAIN.CHECKPOINT_FILE_PATH resumes from {newest}"


def check_saved(run: Training) -> None:
    """Raise UserError, on every rank, if the last save of a kind of file has failed."""
    text = ""
    if failed := run.writer.failed:
        reasons = "; ".join(failed.values())
        text = (
            f"training has finished, but not everything could be saved: {reasons}; "
            f"free space or fix OUTPUT_DIR; {_continuation(run)}"
        )
    if text := distributed.broadcast_object(text):
        raise UserError(text)


def tested_next(run: Training) -> Path | None:
    """The checkpoint that the test after training takes; the same on every rank."""
    best = checkpoint_path(run.cfg.OUTPUT_DIR, BEST)
    taken = best if run.cfg.TEST.LOAD_BEST and best.is_file() else run.writer.newest
    path: Path | None = distributed.broadcast_object(taken)
    return path
