"""Resumed training against uninterrupted training, bit for bit."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.config import get_cfg
from slowfast.engine.checkpoint import load_training_state, save_checkpoint
from slowfast.engine.preflight.cost import synthetic_batch
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.update import Update, update_options
from slowfast.lab.benchmark.report import Check, Report
from slowfast.tasks.build import build_training

_STEPS = 4


def resume_benchmark(device: torch.device) -> Report:
    """Largest difference of a weight after the steps: the same run twice, and resumed.

    Deterministic algorithms are on, so both must be zero.
    """
    # Read when the first product of matrices runs on the GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    cfg = _small_cfg()
    whole, repeated = _Training(cfg, device), _Training(cfg, device)
    for training in (whole, repeated):
        training.run(range(_STEPS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint_epoch_00001.pyth"
        half, resumed = _Training(cfg, device), _Training(cfg, device, seed=1)
        half.run(range(_STEPS // 2))
        half.save(path)
        resumed.load(path)
    resumed.run(range(_STEPS // 2, _STEPS))
    checks = [
        Check("same run again", whole.difference(repeated), 0.0, "largest difference"),
        Check("resumed run", whole.difference(resumed), 0.0, "largest difference"),
    ]
    return Report("resume", checks=checks)


class _Training:
    """Weights and optimizer of SUM-L on synthetic batches; batch i is the same in every run."""

    def __init__(self, cfg: CfgNode, device: torch.device, seed: int = 0) -> None:
        torch.manual_seed(seed)
        model, task = build_training(cfg)
        model.to(device).train()
        self._cfg, self._device = cfg, device
        self._optimizer = build_optimizer(model, cfg)
        self._update = Update(model, model, task, self._optimizer, update_options(cfg))

    def run(self, steps: range) -> None:
        for step in steps:
            batch = synthetic_batch(self._cfg, 2, seed=step).to(self._device)
            self._update(batch, 0, step)

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            model=self._update.model,
            optimizer=self._optimizer,
            epoch=0,
            cfg_text=self._cfg.dump(),
            extra={"update": self._update.state_dict()},
        )

    def load(self, path: Path) -> None:
        _, extra = load_training_state(path, self._update.model, self._optimizer)
        self._update.load_state_dict(extra["update"])

    def difference(self, other: _Training) -> float:
        """Largest difference of weights and buffers."""
        pairs = zip(self._state(), other._state(), strict=True)
        # A tensor's maximum, unlike Python's, is NaN where one value is.
        return float(torch.stack([(ours - theirs).abs().max() for ours, theirs in pairs]).max())

    def _state(self) -> list[Tensor]:
        return [value.double() for value in self._update.model.state_dict().values()]


def _small_cfg() -> CfgNode:
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME, cfg.SUML.ENABLE = "EgoExoSlowFast", True
    cfg.MODEL.DROPOUT_RATE = 0.0  # The masks depend on the state of the generator.
    cfg.RESNET.WIDTH_PER_GROUP, cfg.SLOWFAST.BETA_INV = 8, 4
    cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.NUM_FRAMES, cfg.EXO.NUM_FRAMES = 32, 8, 8
    return cfg
