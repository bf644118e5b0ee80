"""A checkpoint that was trained on features: every command that needs frames says so in a line."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import slowfast
from slowfast.config import load_config
from slowfast.engine.checkpoint import save_checkpoint
from slowfast.inference.export import FORMATS
from slowfast.models.build import build_model
from slowfast.utils.errors import UserError
from tests.commands import ROOT, TOOLS
from tests.inference.conftest import SUML_TINY, TINY

ON_FEATURES = ("TRAIN.ON_FEATURES", "True", "MODEL.BACKBONE", "features:24")
REFUSED = (
    r"^[^\n]*heads_only.pyth is of a model of stored features \(MODEL.BACKBONE features:24\), which"
    r" takes no frames; test it with tools/run_net.py on FEATURES.EGO, or name a checkpoint of a"
    r" model of frames$"
)


@pytest.fixture(scope="module")
def heads_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cfg = load_config(SUML_TINY, ON_FEATURES)
    model = build_model(cfg)
    return save_checkpoint(
        tmp_path_factory.mktemp("run") / "heads_only.pyth",
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        epoch=0,
        cfg_text=cfg.dump(),
        extra={},
    )


def test_load_model(heads_only: Path) -> None:
    with pytest.raises(UserError, match=REFUSED):
        slowfast.load_model(heads_only)


def test_hub(heads_only: Path) -> None:
    suml = runpy.run_path(str(ROOT / "hubconf.py"))["suml"]
    with pytest.raises(UserError, match=REFUSED):
        suml(str(heads_only))


@pytest.mark.parametrize("options", [[], ["--explain"], ["--prompts", "cut onion"]], ids=str)
def test_predict(options: list[str], heads_only: Path, tmp_path: Path) -> None:
    video = tmp_path / "P01_01"
    video.mkdir()
    cv2.imwrite(str(video / "frame_0000000001.jpg"), np.zeros((40, 52, 3), np.uint8))
    main = runpy.run_path(str(TOOLS / "predict.py"))["main"]
    with pytest.raises(UserError, match=REFUSED):
        main([str(video), "--checkpoint", str(heads_only), "--out", str(tmp_path), *options])
    assert [path.name for path in tmp_path.iterdir()] == ["P01_01"]


@pytest.mark.parametrize("form", FORMATS)
def test_export(form: str, heads_only: Path, tmp_path: Path) -> None:
    main = runpy.run_path(str(TOOLS / "export.py"))["main"]
    out = tmp_path / f"model{FORMATS[form].suffix}"
    with pytest.raises(UserError, match=REFUSED):
        main([str(heads_only), "--format", form, "--out", str(out)])
    assert not list(tmp_path.iterdir())


def test_config_of_a_model_of_frames(heads_only: Path, tmp_path: Path) -> None:
    cfg = tmp_path / "model.yaml"
    cfg.write_text(load_config(SUML_TINY, TINY).dump())
    with pytest.raises(
        UserError, match=r"heads_only.pyth does not fit the model: it has no backbone"
    ):
        slowfast.load_model(heads_only, cfg=cfg)
