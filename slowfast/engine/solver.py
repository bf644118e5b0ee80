"""Optimizer groups, the learning-rate policy and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.backbone import Backbone
from slowfast.models.published_names import published_parameter_order
from slowfast.utils.errors import UserError

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


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
    """Learning rate at a fractional epoch: the policy's, after a linear warm-up to it.

    Scaled by TRAIN.BATCH_SIZE / SOLVER.BASE_LR_BATCH_SIZE where that is set (the linear rule of
    arXiv 1706.02677, section 2.1).
    """
    warmup_epochs = cfg.SOLVER.WARMUP_EPOCHS
    if epoch >= warmup_epochs:
        lr = _base_lr_at(cfg, epoch)
    else:
        start, end = cfg.SOLVER.WARMUP_START_LR, _base_lr_at(cfg, warmup_epochs)
        lr = float(start + (end - start) * epoch / warmup_epochs)
    reference = cfg.SOLVER.BASE_LR_BATCH_SIZE
    return lr * (cfg.TRAIN.BATCH_SIZE / reference) if reference else lr


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group: `lr` times the group's `lr_scale`, if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def parameter_groups(
    model: nn.Module, weight_decay: float, bn_weight_decay: float, layer_decay: float = 1.0
) -> list[dict]:
    """Two groups in the published order: parameters of norms, then all others.

    Parameters that are not trained (requires_grad False) are left out.

    layer_decay: below 1, each stage of a backbone has separate groups, whose `lr_scale` is
        layer_decay ** (stages above it + 1); parameters outside all stages have 1 (arXiv
        2106.08254, B).
    """
    norms = {id(p) for m in model.modules() if isinstance(m, _NORMS) for p in m.parameters(False)}
    scales = _lr_scales(model, layer_decay) if layer_decay < 1 else {}
    groups: dict[tuple[float, bool], dict] = {}
    for _, p in published_parameter_order(model):
        if not p.requires_grad:
            continue
        is_norm, scale = id(p) in norms, scales.get(id(p), 1.0)
        decay = bn_weight_decay if is_norm else weight_decay
        group = groups.setdefault((scale, not is_norm), {"params": [], "weight_decay": decay})
        group["params"].append(p)
        if scales:
            group["lr_scale"] = scale
    return [groups[key] for key in sorted(groups)]


def _lr_scales(model: nn.Module, layer_decay: float) -> dict[int, float]:
    """Scale of the learning rate by the id of every parameter of a backbone's stages."""
    scales = {}
    for backbone in (m for m in model.modules() if isinstance(m, Backbone)):
        stages, parameters = backbone.stage_of_parameters(), dict(backbone.named_parameters())
        for name, stage in stages.items():
            if stage:
                above = backbone.num_stages - stage
                scales[id(parameters[name])] = layer_decay ** (above + 1)
    return scales


def build_optimizer(model: nn.Module, cfg: CfgNode) -> torch.optim.Optimizer:
    """The optimizer of SOLVER.OPTIMIZING_METHOD over `parameter_groups`.

    A loaded state is converted to the layout of the weights; `fused` stays as set here.
    """
    solver = cfg.SOLVER
    groups: Iterable[dict] = parameter_groups(
        model, solver.WEIGHT_DECAY, cfg.BN.WEIGHT_DECAY, solver.LAYER_DECAY
    )
    fused = _fused(solver.FUSED, _device(model))
    options: dict[str, Any] = {"lr": lr_at_epoch(cfg, 0.0), "fused": fused}
    optimizer: torch.optim.Optimizer
    if solver.OPTIMIZING_METHOD == "sgd":
        optimizer = torch.optim.SGD(
            groups,
            momentum=solver.MOMENTUM,
            dampening=solver.DAMPENING,
            nesterov=solver.NESTEROV,
            **options,
        )
    elif solver.OPTIMIZING_METHOD == "adam":
        optimizer = torch.optim.Adam(groups, **options)
    elif solver.OPTIMIZING_METHOD == "adamw":
        optimizer = torch.optim.AdamW(groups, **options)
    else:
        raise UserError(
            f"SOLVER.OPTIMIZING_METHOD {solver.OPTIMIZING_METHOD!r} is unknown; use sgd, adam or "
            "adamw"
        )
    optimizer.register_load_state_dict_post_hook(lambda loaded: _fit_state(loaded, fused))
    return optimizer


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _fused(choice: str, device: torch.device) -> bool | None:
    """Value of the optimizer's `fused`; None leaves the choice to torch."""
    if choice == "always" or (choice == "auto" and device.type == "cuda"):
        return True
    # Not False, which would mean a loop over the weights on CUDA too.
    return None


def _fit_state(optimizer: torch.optim.Optimizer, fused: bool | None) -> None:
    """Convert a loaded optimizer state for the kernel in use.

    Fused kernels need weights, gradients and states in one layout, and Adam's step count on the
    device; other kernels need it on the host.
    """
    for group in optimizer.param_groups:
        group["fused"] = fused
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, Tensor):
                continue
            if name == "step":
                state[name] = value.to(parameter.device if fused else "cpu", torch.float32)
            elif value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def clip_gradients(
    parameters: Iterable[nn.Parameter], norm: Tensor, max_value: float, max_norm: float
) -> None:
    """Clip each entry to `max_value`, or all together to the L2 norm `max_norm`; 0 disables it.

    norm: () of all gradients.
    """
    parameters = list(parameters)
    if max_value:
        nn.utils.clip_grad_value_(parameters, max_value)
    if max_norm:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
