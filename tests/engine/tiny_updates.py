"""Tiny models with few blocks, in float64, and updates of them on synthetic batches."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.update import Update, update_options
from slowfast.models.slowfast import NUM_BLOCKS
from slowfast.tasks.build import build_training
from slowfast.utils import distributed
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg


class InFloat64:
    """A device transform in float64."""

    def __init__(self, transform) -> None:
        self._transform = transform

    def clips(self, batch):
        return [pathway.double() for pathway in self._transform.clips(batch)]


def update_cfg(**overrides: object) -> CfgNode:
    """SUM-L with frozen statistics, no dropout, all terms. Arguments are keys with __ for dots."""
    cfg = tiny_cfg(WEIGHTS__ALIGN=1.0)
    cfg.BN.NORM_TYPE = "frozen"
    cfg.MODEL.DROPOUT_RATE = 0.0
    cfg.SOLVER.WARMUP_START_LR = cfg.SOLVER.BASE_LR = 0.02
    for key, value in overrides.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


CPU = torch.device("cpu")


def make_update(cfg: CfgNode, double: bool = True, device: torch.device = CPU) -> Update:
    blocks = NUM_BLOCKS[50]
    NUM_BLOCKS[50] = (1, 1, 1, 1)
    try:
        torch.manual_seed(0)
        model, task = build_training(cfg)
    finally:
        NUM_BLOCKS[50] = blocks
    model.to(device).train()
    if double:
        model.double()
        for name in ("_ego_transform", "_exo_transform", "_transform"):
            if hasattr(task, name):
                setattr(task, name, InFloat64(getattr(task, name)))
    stepped = distributed.data_parallel(model, device)
    return Update(model, stepped, task, build_optimizer(model, cfg), update_options(cfg))


def batch_of(pairs: int, seed: int = 0, double: bool = True) -> PairedBatch:
    batch = paired_batch(seed, pairs)
    for clips in batch.clips():
        if double and clips.text is not None:
            clips.text = clips.text.double()
    return batch


def rows_of(batch: PairedBatch, rows: slice) -> PairedBatch:
    def part(clips: ClipBatch) -> ClipBatch:
        assert clips.text is not None
        labels = [label[rows] for label in clips.labels]
        return ClipBatch(clips.frames[rows], labels, clips.indices[rows], clips.text[rows])

    return PairedBatch(part(batch.ego), part(batch.exo))


def gradients(update: Update) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in update.model.named_parameters() if p.grad is not None}


def weights(update: Update) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in update.model.state_dict().items()}


def assert_same_gradients(ours, expected, relative: float) -> None:
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        limit = relative * float(value.abs().max().clamp(min=1e-12))
        torch.testing.assert_close(ours[name], value, rtol=0, atol=limit, msg=name)
