"""Training on features: two processes give the losses and weights of one process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from slowfast.config import load_config
from slowfast.datasets.build import build_dataset
from slowfast.datasets.loading.loader import build_loader
from slowfast.engine.solver import build_optimizer, lr_at_epoch, set_lr
from slowfast.engine.step.update import Update, update_options
from slowfast.tasks.build import build_training
from slowfast.utils import distributed
from tests.commands import SUML_TINY
from tests.datasets.features.random_features import write_features
from tests.distributed.processes import run_in_processes

EPOCHS, STEPS = 2, 4
TRAINING = (
    *("NUM_GPUS", "0", "TRAIN.BATCH_SIZE", "8"),
    # Every rank has a generator for its dropout.
    *("MODEL.DROPOUT_RATE", "0"),
    # Adam would turn the rounding of gradients that are zero (attention: key bias) into steps.
    *("SOLVER.OPTIMIZING_METHOD", "sgd", "SOLVER.BASE_LR", "0.02", "SOLVER.WARMUP_EPOCHS", "0"),
)


def _train(home: Path, overrides: list[str]) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Losses of every step, averaged over the processes, and the weights at the end."""
    os.chdir(home)
    torch.set_num_threads(1)
    cfg = load_config(SUML_TINY, [*TRAINING, *overrides])
    torch.manual_seed(0)
    model, task = build_training(cfg)
    rank, world = distributed.rank(), distributed.world_size()
    stepped = DistributedDataParallel(model) if world > 1 else model
    update = Update(model, stepped, task, build_optimizer(model, cfg), update_options(cfg))
    data = build_dataset("ego_exo", cfg, "train")
    loader = build_loader(cfg, data, "train", rank, world)
    losses = []
    for epoch in range(EPOCHS):
        loader.set_epoch(epoch)
        set_lr(update.optimizer, lr_at_epoch(cfg, epoch))
        for iteration, batch in enumerate(loader):
            output, _ = update(batch, epoch, iteration)
            means = {k: distributed.all_reduce_sum(v) / world for k, v in output.losses.items()}
            losses.append({name: float(value) for name, value in means.items()})
    return losses, {name: weight.detach() for name, weight in model.named_parameters()}


def test_two_processes_train_as_one(
    sample_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    on_features = write_features(load_config(SUML_TINY), tmp_path)
    overrides = [*on_features, "MODEL.PROBE", "attentive"]
    losses, weights = _train(sample_home, overrides)
    assert len(losses) == EPOCHS * STEPS
    assert {"ego_verb", "exo_noun", "align", "ego_text"} <= losses[0].keys()
    for part_losses, part_weights in run_in_processes(2, _train, sample_home, overrides):
        for step, expected in zip(part_losses, losses, strict=True):
            # Sums in another order in float32, over a few steps.
            assert step == pytest.approx(expected, rel=1e-4)
        for name, weight in weights.items():
            torch.testing.assert_close(part_weights[name], weight, rtol=1e-3, atol=1e-5)
