"""SUM-L on data sets of one's own: one step label on the ego side, narrations alone on the exo."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.registry import SOURCE_REGISTRY, DataSource, register_source
from slowfast.datasets.types import Annotations, FrameStore, Segment
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.engine.processes.launch import ProcessInfo
from slowfast.engine.run import run
from slowfast.evaluation.predictions import read_predictions
from slowfast.semantics import encoder
from slowfast.semantics.build import mine_from_config
from slowfast.utils.errors import UserError
from tests.commands import CONFIGS
from tests.datasets.frames.tiny_videos import make_video
from tests.semantics.fake_encoder import WIDTH, make_fake

STEPS = ("take cup", "wash cup", "put cup")
WILD = ("a man takes a cup", "a man washes a cup", "a woman puts a cup down", "somebody walks")


class MyKitchen(DataSource):
    """Six segments of two videos, with one step each."""

    def annotations(self) -> Annotations:
        return Annotations(
            [
                Segment(f"{v}_{n}", v, "", 1 + 15 * n, 25 + 15 * n, STEPS[n], ((n,),))
                for v in ("a", "b")
                for n in range(3)
            ]
        )

    def frames(self, annotations: Annotations) -> FrameStore:
        return VideoStore([self.cfg.DATA.PATH_PREFIX], make_decoder(self.cfg.DATA.DECODER))


class Wild(DataSource):
    """Four segments that nobody has labelled."""

    def annotations(self) -> Annotations:
        return Annotations(
            [Segment(f"w_{n}", "w", "", 1 + 8 * n, 30 + 8 * n, WILD[n], ()) for n in range(4)]
        )

    def frames(self, annotations: Annotations) -> FrameStore:
        return VideoStore([self.cfg.EXO.PATH_PREFIX], make_decoder(self.cfg.DATA.DECODER))


@pytest.fixture
def overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Both sets registered, their videos, and the keys of the smallest run on them."""
    entries = {name: SOURCE_REGISTRY.get(name) for name in SOURCE_REGISTRY}
    monkeypatch.setattr(SOURCE_REGISTRY, "_entries", entries)
    register_source("my_kitchen", views=("ego",), heads=("step",))(MyKitchen)
    register_source("wild", views=("exo",), heads=())(Wild)
    monkeypatch.setattr(encoder, "load_encoder", make_fake)
    for video in ("a", "b", "w"):
        make_video(tmp_path / "frames" / video, 60)
    return {
        "OUTPUT_DIR": str(tmp_path / "run"),
        "NUM_GPUS": 0,
        "LOG_PERIOD": 1,
        "TRAIN.DATASET": "ego_exo",
        "TRAIN.BATCH_SIZE": 3,
        "EGO.DATASET": "my_kitchen",
        "EXO.DATASET": "wild",
        "TEST.DATASET": "my_kitchen",
        "TEST.NUM_ENSEMBLE_VIEWS": 2,
        "MODEL.MODEL_NAME": "EgoExoSlowFast",
        "MODEL.HEAD_NAMES": ["step"],
        "MODEL.NUM_CLASSES_LIST": [3],
        "EXO.HEAD_NAMES": [],
        "EXO.NUM_CLASSES_LIST": [],
        "SUML.ENABLE": True,
        "SUML.WEIGHTS.EXO_CLS": 0.0,
        "SUML.WEIGHTS.ALIGN": 0.5,
        # The stand-in encoder knows words, not meanings: most pairs pass at a low threshold.
        "SUML.ALIGN.THRESHOLD": -1.0,
        "SUML.EMBED_DIM": WIDTH,
        "SUML.CACHE_DIR": str(tmp_path / "narrations"),
        "SUML.PAIRS.FILE": str(tmp_path / "pairs.npz"),
        "DATA.PATH_PREFIX": str(tmp_path / "frames"),
        "EXO.PATH_PREFIX": str(tmp_path / "frames"),
        "DATA.NUM_FRAMES": 8,
        "EXO.NUM_FRAMES": 8,
        "DATA.TRAIN_JITTER_SCALES": [32, 36],
        "DATA.TRAIN_CROP_SIZE": 32,
        "DATA.TEST_CROP_SIZE": 32,
        "DATA_LOADER.NUM_WORKERS": 0,
        "RESNET.WIDTH_PER_GROUP": 4,
        "SLOWFAST.BETA_INV": 2,
        "SOLVER.MAX_EPOCH": 1,
    }


def load(tmp_path: Path, overrides: dict[str, object]) -> CfgNode:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    return load_config(path, [part for item in overrides.items() for part in item])


def run_here(cfg: CfgNode) -> None:
    validate_run(cfg)
    run(cfg, ProcessInfo(0, 0, 1, None, torch.device("cpu")))


def test_it_mines_trains_validates_and_tests(
    tmp_path: Path, overrides: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    cfg = load(tmp_path, overrides)
    with caplog.at_level(logging.INFO):
        report = mine_from_config(cfg)
    assert (report.ego_segments, report.exo_segments) == (6, 4)
    assert report.verb_agreement is None
    # Nothing to fix: text is mined, and the set has no verbs and nouns.
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert "MODEL.HEAD_NAMES is ['step']" in caplog.text
    run_here(cfg)
    log = (tmp_path / "run" / "log.txt").read_text()
    stats = [json.loads(x.split("json_stats: ")[1]) for x in log.splitlines() if "json_stats" in x]
    by_type = {entry["_type"]: entry for entry in stats}
    terms = {"ego_step", "ego_text", "exo_text", "align"}
    assert terms <= by_type["train_iter"].keys()
    assert not [name for name in by_type["train_iter"] if name.startswith(("exo_step", "exo_verb"))]
    assert {"step_top1", "step_top5"} <= by_type["val_epoch"].keys()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["num_segments"] == 6
    assert results["num_classes"] == {"step": 3}
    # One of three equally frequent classes.
    assert results["chance_step_top1"] == pytest.approx(100 / 3)
    predictions = read_predictions(tmp_path / "run" / "predictions.pkl")
    assert predictions.scores["step"].shape == (6, 3)


def test_a_term_without_what_it_needs_is_refused(
    tmp_path: Path, overrides: dict[str, object]
) -> None:
    overrides["SUML.WEIGHTS.EXO_CLS"] = 0.1
    # Before any data is read: nothing is mined yet.
    with pytest.raises(UserError, match=r"SUML\.WEIGHTS\.EXO_CLS is 0\.1.*EXO\.NUM_CLASSES_LIST"):
        validate_run(load(tmp_path, overrides))
    overrides["SUML.WEIGHTS.EXO_CLS"] = 0.0
    overrides["SUML.PAIRS.FILE"] = ""
    with pytest.raises(UserError, match=r"ALIGN is 0\.5.*SUML\.PAIRS\.FILE is empty"):
        validate_run(load(tmp_path, overrides))
    overrides["SUML.WEIGHTS.ALIGN"] = 0.0
    with pytest.raises(UserError, match=r"joins clips by pairs, but SUML\.PAIRS\.FILE is empty"):
        validate_run(load(tmp_path, overrides))


def test_errors_name_the_keys_of_the_set(tmp_path: Path, overrides: dict[str, object]) -> None:
    overrides["MODEL.NUM_CLASSES_LIST"] = [2]
    with pytest.raises(UserError, match=r"segment a_2 has step \[2\], outside the 2 classes"):
        mine_from_config(load(tmp_path, overrides))
    overrides["MODEL.NUM_CLASSES_LIST"], overrides["SUML.PAIRS.MINING"] = [3], "tiers"
    with pytest.raises(UserError, match=r"MINING tiers compares labels.*HEAD_NAMES is \['step'\]"):
        mine_from_config(load(tmp_path, overrides))
    overrides["SUML.PAIRS.MINING"] = "text"
    overrides["MODEL.HEAD_NAMES"], overrides["MODEL.NUM_CLASSES_LIST"] = ["verb", "noun"], [3, 3]
    with pytest.raises(UserError, match=r"EGO\.DATASET my_kitchen is labelled with \['step'\]"):
        validate_run(load(tmp_path, overrides))
    overrides["MODEL.HEAD_NAMES"], overrides["MODEL.NUM_CLASSES_LIST"] = ["step"], [3]
    overrides["EXO.HEAD_NAMES"], overrides["EXO.NUM_CLASSES_LIST"] = ["verb"], [3]
    with pytest.raises(UserError, match=r"EXO\.DATASET wild has no labels.*EXO\.HEAD_NAMES \[\]"):
        validate_run(load(tmp_path, overrides))


def test_shipped_configs_name_the_sets_that_they_had() -> None:
    for path in sorted(CONFIGS.glob("epic-kitchen-*/*.yaml")):
        assert load_config(path).EGO.DATASET == "epickitchen", path
