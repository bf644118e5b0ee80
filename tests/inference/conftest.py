"""A checkpoint of a tiny dual model on the sample, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.config import load_config
from slowfast.engine.checkpoint import save_checkpoint
from slowfast.inference.loaded_model import LoadedModel, load_model
from slowfast.models.build import build_model
from tests.commands import ROOT

SUML_TINY = ROOT / "configs/sample/SUML_tiny.yaml"
NAMES = {"verb": tuple("abcdef"), "noun": tuple("klmnopqr")}
# Clips of 4 frames at step 2: 7 video frames.
TINY = (
    *("RESNET.WIDTH_PER_GROUP", "4", "SLOWFAST.BETA_INV", "2", "DATA.NUM_FRAMES", "4"),
    *("DATA.TEST_CROP_SIZE", "32", "DATA.TRAIN_CROP_SIZE", "32"),
    *("DATA.TRAIN_JITTER_SCALES", "[32, 40]", "EXO.NUM_FRAMES", "4"),
)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    cfg = load_config(SUML_TINY, TINY)
    model = build_model(cfg)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            assert module.running_mean is not None
            module.running_mean.normal_(std=0.1)
            module.weight.data.uniform_(0.5, 1.5)
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    folder.mkdir()
    return save_checkpoint(
        folder / "checkpoint_epoch_00001.pyth",
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        epoch=0,
        cfg_text=cfg.dump(),
        extra={"class_names": NAMES},
    )


@pytest.fixture(scope="session")
def loaded(checkpoint: Path) -> LoadedModel:
    return load_model(checkpoint)


@pytest.fixture(scope="session")
def clip() -> np.ndarray:
    """(12, 40, 60, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (12, 40, 60, 3), np.uint8)
