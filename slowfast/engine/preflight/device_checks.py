"""Checks of config keys that this machine or this number of processes cannot satisfy."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.step.precision import check_precision
from slowfast.utils.errors import UserError


def check_device(cfg: CfgNode, device: torch.device, processes: int) -> None:
    """Check the keys that depend on the device and on the number of processes of the run.

    Raises: UserError with key, value and fix.
    """
    if cfg.TEST.ENABLE:
        check_precision("TEST.PRECISION", cfg.TEST.PRECISION, device)
    if not cfg.TRAIN.ENABLE:
        return
    check_precision("TRAIN.PRECISION", cfg.TRAIN.PRECISION, device)
    clips = cfg.TRAIN.BATCH_SIZE // processes
    parts = cfg.SOLVER.ACCUMULATE
    if clips % parts:
        raise UserError(
            f"TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE} is {clips} clips per process, not a "
            f"multiple of SOLVER.ACCUMULATE {parts}; change one of them"
        )
