"""What every process does before work: device, process group, seeds, log."""

from __future__ import annotations

import datetime
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode

from slowfast.config import log_notes
from slowfast.engine.launch import Place
from slowfast.utils import distributed
from slowfast.utils.cli import OTHERS_WAIT_SEC
from slowfast.utils.errors import UserError
from slowfast.utils.logging import setup_logging

logger = logging.getLogger(__name__)

# What gloo says when a process at the other end of a collective has ended.
_PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


@contextmanager
def prepared(cfg: CfgNode, place: Place) -> Iterator[None]:
    """Device, process group, log and seeds of one process.

    The group is taken down after success only: after a failure of one process, taking it down
    would wait for the others (nccl).
    """
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
        # fp32 means fp32: convolutions would use TF32 otherwise.
        torch.backends.cudnn.allow_tf32 = False
    if place.world_size > 1:
        _join_group(place)
    try:
        _open_output(cfg)
        torch.manual_seed(cfg.RNG_SEED)
        np.random.seed(cfg.RNG_SEED % 2**32)
        _log_environment(cfg, place)
        log_notes(cfg)
        yield
    except RuntimeError as error:
        if place.world_size > 1 and any(sign in str(error) for sign in _PEER_IS_GONE):
            # The other process speaks first.
            time.sleep(2 * OTHERS_WAIT_SEC)
            raise UserError(
                "another process of this run has ended; its own message says why"
            ) from error
        raise
    if dist.is_initialized():
        dist.destroy_process_group()


def _join_group(place: Place) -> None:
    on_cuda = place.device.type == "cuda"
    try:
        dist.init_process_group(
            backend="nccl" if on_cuda else "gloo",
            init_method=place.init_method,
            rank=place.rank if place.init_method else -1,
            world_size=place.world_size if place.init_method else -1,
            timeout=datetime.timedelta(minutes=30),
            device_id=place.device if on_cuda else None,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the processes of this run cannot meet at {_address(place)}: {reason}; "
            "set another --master_port or --init_method"
        ) from error


def _address(place: Place) -> str:
    if place.init_method:
        return place.init_method
    return f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"


def _open_output(cfg: CfgNode) -> None:
    """Log and merged config in OUTPUT_DIR; with --cfg the latter repeats the run."""
    folder = Path(cfg.OUTPUT_DIR)
    try:
        setup_logging(folder, quiet=not distributed.is_main())
        if distributed.is_main():
            (folder / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR} cannot be written: {error.strerror}; set another"
        ) from error


def _log_environment(cfg: CfgNode, place: Place) -> None:
    logger.info(
        "python %s, torch %s, %s; %d process(es), started by %s",
        platform.python_version(),
        torch.__version__,
        torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else "cpu",
        place.world_size,
        "a launcher" if place.launched else "this command",
    )
    if place.launched and cfg.NUM_GPUS not in (0, place.world_size):
        logger.info(
            "NUM_GPUS %d is not obeyed: the launcher started %d processes",
            cfg.NUM_GPUS,
            place.world_size,
        )
