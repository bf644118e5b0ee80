"""Set-up of each process before its work: device, process group, output lock, log and seeds."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode

from slowfast.config import log_notes
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.processes.output_lock import output_lock
from slowfast.engine.processes.rendezvous import Meeting, cannot_meet, meet
from slowfast.utils import distributed
from slowfast.utils.cli import OTHERS_WAIT_SEC
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text
from slowfast.utils.logging import setup_logging

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"

# Messages of gloo when a process at the other end of a collective has ended.
_PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
# Messages of gloo and the store when a process does not join within DISTRIBUTED.TIMEOUT.
_GAVE_UP_WAITING = ("Timed out waiting", "wait timeout after")


@contextmanager
def prepared(cfg: CfgNode, process: ProcessInfo) -> Iterator[Callable[[], None]]:
    """Set up one process: device, process group, log, seeds; in training, the lock of OUTPUT_DIR.

    Yields a check that raises UserError once another training has taken the lock over.

    The group is destroyed after success only: after a failure of one process, nccl would wait for
    the others.
    """
    if process.device.type == "cuda":
        torch.cuda.set_device(process.device)
        # fp32 means fp32: convolutions would use TF32 otherwise.
        torch.backends.cudnn.allow_tf32 = False
    meeting = _join_group(cfg, process) if process.world_size > 1 else None
    try:
        with _lock_output(cfg) if cfg.TRAIN.ENABLE else nullcontext(_unlocked) as check_lock:
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
                "another process of this run has ended; its own message says why"
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
    """Check of a process that holds no lock."""


@contextmanager
def _lock_output(cfg: CfgNode) -> Iterator[Callable[[], None]]:
    """Hold the lock of OUTPUT_DIR on rank 0; a refusal is the same error on every rank."""
    held, refusal, check = ExitStack(), "", _unlocked
    if distributed.is_main():
        try:
            check = held.enter_context(output_lock(cfg.OUTPUT_DIR)).check
        except UserError as error:
            refusal = str(error)
        except OSError as error:
            refusal = _not_writable(cfg, error)
    refusal = distributed.broadcast_object(refusal)
    if refusal:
        raise UserError(refusal)
    with held:
        yield check


def write_config(cfg: CfgNode) -> None:
    """Write the merged config into OUTPUT_DIR, on rank 0; `--cfg` with it repeats the run.

    Raises: UserError where it cannot be written.
    """
    if not distributed.is_main():
        return
    try:
        write_text(Path(cfg.OUTPUT_DIR) / CONFIG_NAME, cfg.dump())
    except OSError as error:
        raise UserError(_not_writable(cfg, error)) from error


def _open_output(cfg: CfgNode) -> None:
    """Open the log in OUTPUT_DIR; a test alone writes its config unless a training has.

    A training writes its config later, when nothing refuses it any more.
    """
    folder = Path(cfg.OUTPUT_DIR)
    try:
        setup_logging(folder, quiet=not distributed.is_main())
        if not cfg.TRAIN.ENABLE and not (folder / CONFIG_NAME).exists():
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
            "NUM_GPUS %d is not obeyed: the launcher started %d processes",
            cfg.NUM_GPUS,
            process.world_size,
        )
