"""What every process does before work: device, process group, seeds, threads, log."""

from __future__ import annotations

import datetime
import logging
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
    """Device, process group, log and seeds of one process, taken down at the end."""
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    if place.world_size > 1:
        dist.init_process_group(
            backend="nccl" if place.device.type == "cuda" else "gloo",
            init_method=place.init_method,
            rank=place.rank if place.init_method else -1,
            world_size=place.world_size if place.init_method else -1,
            timeout=datetime.timedelta(minutes=30),
        )
    try:
        setup_logging(Path(cfg.OUTPUT_DIR), quiet=not distributed.is_main())
        torch.manual_seed(cfg.RNG_SEED)
        np.random.seed(cfg.RNG_SEED % 2**32)
        _log_environment(cfg, place)
        log_notes(cfg)
        _write_config(cfg)
        yield
    except RuntimeError as error:
        if any(sign in str(error) for sign in _PEER_IS_GONE):
            # The other process speaks first.
            time.sleep(2 * OTHERS_WAIT_SEC)
            raise UserError(
                "another process of this run has ended; its own message says why"
            ) from error
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


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


def _write_config(cfg: CfgNode) -> None:
    """Leave the merged config in OUTPUT_DIR; with --cfg it repeats the run."""
    if distributed.is_main():
        path = Path(cfg.OUTPUT_DIR) / "config.yaml"
        path.write_text(cfg.dump(), encoding="utf-8")
        logger.info("configuration in %s", path)
