"""Optimizer groups and the learning-rate policy."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from fvcore.common.config import CfgNode
from torch import nn

from slowfast.models.published_names import published_parameter_order
from slowfast.utils.errors import UserError


def _base_lr_at(cfg: CfgNode, epoch: float) -> float:
    solver = cfg.SOLVER
    if solver.LR_POLICY == "cosine":
        return float(solver.BASE_LR * (math.cos(math.pi * epoch / solver.MAX_EPOCH) + 1.0) * 0.5)
    if solver.LR_POLICY == "steps_with_relative_lrs":
        begun = [
            factor for step, factor in zip(solver.STEPS, solver.LRS, strict=True) if epoch >= step
        ]
        return float(begun[-1] * solver.BASE_LR)
    raise UserError(
        f"SOLVER.LR_POLICY {solver.LR_POLICY!r} is unknown; use cosine or steps_with_relative_lrs"
    )


def lr_at_epoch(cfg: CfgNode, epoch: float) -> float:
    """Learning rate at a fractional epoch: the policy's, after a linear warm-up to it."""
    warmup_epochs = cfg.SOLVER.WARMUP_EPOCHS
    if epoch >= warmup_epochs:
        return _base_lr_at(cfg, epoch)
    start, end = cfg.SOLVER.WARMUP_START_LR, _base_lr_at(cfg, warmup_epochs)
    return float(start + (end - start) * epoch / warmup_epochs)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def parameter_groups(model: nn.Module, weight_decay: float, bn_weight_decay: float) -> list[dict]:
    """Two groups in the published order: batch-norm parameters, then all others.

    Parameters that are not trained (requires_grad False) are left out.
    """
    named = [(name, p) for name, p in published_parameter_order(model) if p.requires_grad]
    norms = [p for name, p in named if "bn" in name]
    others = [p for name, p in named if "bn" not in name]
    groups = [
        {"params": norms, "weight_decay": bn_weight_decay},
        {"params": others, "weight_decay": weight_decay},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(model: nn.Module, cfg: CfgNode) -> torch.optim.Optimizer:
    """The optimizer of SOLVER.OPTIMIZING_METHOD over `parameter_groups`."""
    solver = cfg.SOLVER
    groups: Iterable[dict] = parameter_groups(model, solver.WEIGHT_DECAY, cfg.BN.WEIGHT_DECAY)
    lr = lr_at_epoch(cfg, 0.0)
    if solver.OPTIMIZING_METHOD == "sgd":
        return torch.optim.SGD(
            groups,
            lr=lr,
            momentum=solver.MOMENTUM,
            dampening=solver.DAMPENING,
            nesterov=solver.NESTEROV,
        )
    if solver.OPTIMIZING_METHOD == "adam":
        return torch.optim.Adam(groups, lr=lr)
    if solver.OPTIMIZING_METHOD == "adamw":
        return torch.optim.AdamW(groups, lr=lr)
    raise UserError(
        f"SOLVER.OPTIMIZING_METHOD {solver.OPTIMIZING_METHOD!r} is unknown; use sgd, adam or adamw"
    )
