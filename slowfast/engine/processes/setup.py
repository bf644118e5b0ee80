"""Set-up of each process before its work: device, process group, output lock, log and seeds."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode

from slowfast.config import log_notes
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.output_lock import (
    LOCK_NAME,
    TEST_LOCK_NAME,
    InUse,
    output_lock,
    training_in,
)
from slowfast.engine.processes.rendezvous import Meeting, cannot_meet, meet
from slowfast.utils import distributed
from slowfast.utils.cli import OTHERS_WAIT_SEC
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.logging import LOG_NAME, reopen_log, setup_logging

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"
TEST_LOG_NAME = "test_log.txt"

# Between two attempts to take a lock that another run holds.
_WAIT_SEC = 5.0

# Messages of gloo when a process at the other end of a collective has ended.
_PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
# Messages of gloo and the store when a process does not join within DISTRIBUTED.TIMEOUT.
_GAVE_UP_WAITING = ("Timed out waiting", "wait timeout after")


@contextmanager
def prepared(cfg: CfgNode, process: ProcessInfo) -> Iterator[Callable[[], None]]:
    """Set up one process: device, process group, a lock of OUTPUT_DIR, log, seeds.

    Training holds the training lock; a test alone holds the test lock. Yields a check that raises
    UserError once another run has taken the lock over.

    The group is destroyed after success only: after a failure of one process, nccl would wait for
    the others.
    """
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
        # fp32 means fp32: convolutions would use TF32 otherwise.
        torch.backends.cudnn.allow_tf32 = False
    meeting = _join_group(cfg, process) if process.world_size > 1 else None
    try:
        name = LOCK_NAME if cfg.TRAIN.ENABLE else TEST_LOCK_NAME
        with _lock_output(cfg, name) as check_lock:
            _open_output(cfg)
            torch.manual_seed(cfg.RNG_SEED)
            np.random.seed(cfg.RNG_SEED % 2**32)
            _log_environment(cfg, process)
            log_notes(cfg)
            yield check_lock
    except RuntimeError as error:
        if meeting is None:
            raise
        if any(sign in str(error) for sign in _GAVE_UP_WAITING):
            raise meeting.gave_up() from error
        if any(sign in str(error) for sign in _PEER_IS_GONE):
            # Let the other process report first.
            time.sleep(2 * OTHERS_WAIT_SEC)
            raise UserError(
                "another process of this run has ended; its message gives the reason"
            ) from error
        raise
    if dist.is_initialized():
        dist.destroy_process_group()


def _join_group(cfg: CfgNode, process: ProcessInfo) -> Meeting:
    meeting = meet(process, cfg.DISTRIBUTED.TIMEOUT)
    try:
        distributed.join_group(
            meeting.store, process.rank, process.world_size, meeting.timeout, process.device
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(cannot_meet(process, str(error).splitlines()[0])) from error
    return meeting


def _unlocked() -> None:
    """No check: only rank 0 holds the lock."""


@contextmanager
def _lock_output(cfg: CfgNode, name: str, *, wait: bool = False) -> Iterator[Callable[[], None]]:
    """Hold a lock of OUTPUT_DIR on rank 0; a refusal is the same error on every rank.

    wait: wait for another holder to end instead of refusing.
    """
    held, check = ExitStack(), _unlocked
    while True:
        refusal, in_use = "", False
        if distributed.is_main():
            try:
                check = held.enter_context(output_lock(cfg.OUTPUT_DIR, name)).check
            except UserError as error:
                refusal, in_use = str(error), isinstance(error, InUse)
            except OSError as error:
                refusal = _not_writable(cfg, error)
        refusal, in_use = distributed.broadcast_object((refusal, in_use))
        if not refusal:
            break
        if not (wait and in_use):
            raise UserError(refusal)
        logger.info("waiting: %s", refusal)
        # In short intervals, because a rank may not wait for rank 0 longer than
        # DISTRIBUTED.TIMEOUT.
        time.sleep(_WAIT_SEC)
    with held:
        yield check


@contextmanager
def lock_for_test(cfg: CfgNode) -> Iterator[None]:
    """Hold the lock of tests in OUTPUT_DIR, for the test of a run that has trained.

    Waits for a test that is active there, so that a long training run does not end in an error.
    """
    with _lock_output(cfg, TEST_LOCK_NAME, wait=True):
        yield


def write_config(cfg: CfgNode) -> None:
    """Write the merged config into OUTPUT_DIR, on rank 0; as `--cfg` it repeats the run.

    Raises: UserError if it cannot be written.
    """
    if not distributed.is_main():
        return
    try:
        write_text(Path(cfg.OUTPUT_DIR) / CONFIG_NAME, cfg.dump())
    except OSError as error:
        raise UserError(_not_writable(cfg, error)) from error


def restore_output(cfg: CfgNode) -> bool:
    """Write log.txt and config.yaml again if they were removed; returns whether they were.

    Called on rank 0 of a training run.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if all((folder / name).exists() for name in (LOG_NAME, CONFIG_NAME)):
        return False
    try:
        write_config(cfg)
        reopen_log()
    except UserError as error:
        logger.error("log.txt or config.yaml was removed, and cannot be written again: %s", error)
        return False
    logger.error(
        "OUTPUT_DIR %s, or log.txt or config.yaml in it, was removed during training; both "
        "are written again, and checkpoints from now on",
        folder,
    )
    return True


def _open_output(cfg: CfgNode) -> None:
    """Open the log in OUTPUT_DIR; a test alone writes its config unless a training run has.

    Training writes its config later, once all checks have passed. A test that runs next to training
    leaves the log and the config to it.
    """
    folder = Path(cfg.OUTPUT_DIR)
    training = "" if cfg.TRAIN.ENABLE else training_in(folder)
    try:
        name = TEST_LOG_NAME if training else LOG_NAME
        setup_logging(folder, quiet=not distributed.is_main(), name=name)
        if training:
            logger.info("next to the training of %s: this test logs to %s", training, name)
        elif not cfg.TRAIN.ENABLE and not (folder / CONFIG_NAME).exists():
            write_config(cfg)
    except OSError as error:
        raise UserError(_not_writable(cfg, error)) from error


def _not_writable(cfg: CfgNode, error: OSError) -> str:
    return f"OUTPUT_DIR {cfg.OUTPUT_DIR} cannot be written: {error.strerror}; set another"


def _log_environment(cfg: CfgNode, process: ProcessInfo) -> None:
    logger.info(
        "python %s, torch %s, %s; %d process(es), started by %s",
        platform.python_version(),
        torch.__version__,
        torch.cuda.get_device_name(process.device) if process.device.type == "cuda" else "cpu",
        process.world_size,
        "a launcher" if process.launched else "this command",
    )
    if process.launched and cfg.NUM_GPUS not in (0, process.world_size):
        logger.info(
            "NUM_GPUS %d is ignored: the launcher started %d processes",
            cfg.NUM_GPUS,
            process.world_size,
        )
