"""Data doctor and dry run with two exo sets: each is looked at, and a fault names its set."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.engine.preflight.check_data import check_data
from slowfast.engine.preflight.dry_run import DryRun, _split
from slowfast.semantics.build import mine_from_config
from tests.datasets.sources.tiny_lemma import write_annotations, write_frames
from tests.semantics.test_build import add_frames, cfg  # noqa: F401 (a fixture)


@pytest.fixture
def two_sets(cfg: CfgNode, tmp_path: Path) -> CfgNode:  # noqa: F811
    """A training run on the tiny exo set and a copy of it, whose pairs are mined by label."""
    folder = tmp_path / "wall"
    write_annotations(folder)
    add_frames(cfg)
    write_frames(folder)
    ego = Path(cfg.DATA.PATH_TO_DATA_DIR)
    shutil.copy(ego / "EPIC_100_train.csv", ego / "EPIC_100_validation.csv")
    (folder / "map.csv").write_text("kind,exo,ego_class\nnoun,sink,plate\n")
    entry = {"NAME": "wall", "PATH_TO_DATA_DIR": str(folder), "LABEL_MAP": str(folder / "map.csv")}
    cfg.EXO.MORE = [entry]
    cfg.MODEL.MODEL_NAME = "EgoExoSlowFast"
    cfg.TRAIN.DATASET, cfg.TEST.ENABLE = "ego_exo", False
    cfg.TRAIN.BATCH_SIZE, cfg.NUM_GPUS, cfg.DATA_LOADER.NUM_WORKERS = 2, 0, 0
    cfg.SUML.PAIRS.MINING, cfg.SUML.PAIRS.TOP_K = "tiers_text", 4
    mine_from_config(cfg)
    return cfg


def dry(cfg: CfgNode) -> DryRun:  # noqa: F811
    """The part of the dry run that reads the training data."""
    report = DryRun()
    report.look("train", lambda: _split(report, cfg, "train", 1))
    return report


def test_sound_sets_are_both_described(two_sets: CfgNode) -> None:
    findings, report = check_data(two_sets), dry(two_sets)
    assert findings.mistakes == report.mistakes == []
    lines = str(findings).splitlines()
    for name in ("EXO", "wall"):
        own = [line for line in lines if line.startswith(f"train exo {name}:")]
        assert any("4 segments of 2 videos" in line for line in own), lines
        assert any("frames of 2 videos found" in line for line in own)
        assert any("verb: 4 of 4 classes" in line for line in own), own
        assert any("4 pictures decoded" in line for line in own)
        nouns = {"EXO": 3, "wall": 4}[name]
        assert any(f"{nouns} of 6 nouns have an ego class" in line for line in own)
        assert any(f"train {name}:" in line and "decoded" in line for line in report.lines)
    assert any("exo set wall:" in line and "pairs, 4 segments" in line for line in lines)


def lose_a_video(folder: Path) -> None:
    shutil.rmtree(folder / "frames/v2")


def damage_a_frame(folder: Path) -> None:
    for path in (folder / "frames/v1").iterdir():
        path.write_bytes(path.read_bytes()[:100])


def change_the_list(folder: Path) -> None:
    write_annotations(folder, splits={"train": ["v1"]})


def lose_the_list(folder: Path) -> None:
    shutil.rmtree(folder / "annotations")


def damage_the_map(folder: Path) -> None:
    (folder / "map.csv").write_text("kind,exo,ego_class\nnoun,spoon,plate\n")


@pytest.mark.parametrize(
    ("inject", "said"),
    [
        (lose_a_video, "exo set wall: video v2"),
        (damage_a_frame, "wall/frames/v1"),
        (change_the_list, "is for 8 exo segments, but the data set has 6"),
        (lose_the_list, "wall/annotations"),
        (damage_the_map, "wall/map.csv: line 2: the exo set has no noun 'spoon'"),
    ],
)
def test_a_fault_in_the_second_set_is_found(
    two_sets: CfgNode, tmp_path: Path, inject: Callable[[Path], None], said: str
) -> None:
    inject(tmp_path / "wall")
    # Of one set alone, the doctor need not name it.
    wanted = said.removeprefix("exo set wall: ")
    findings = check_data(two_sets)
    assert any(wanted in mistake for mistake in findings.mistakes), findings.mistakes
    named = "pairs" if inject is change_the_list else "train exo wall"
    assert any(line.startswith(f"{named}:") and "WRONG" in line for line in findings.lines)
    if inject is not damage_the_map:
        assert any(said in mistake for mistake in dry(two_sets).mistakes), dry(two_sets).mistakes


def test_faults_of_both_sets_are_found_at_once(two_sets: CfgNode, tmp_path: Path) -> None:
    for folder in (tmp_path / "wall", tmp_path / "exo"):
        lose_a_video(folder)
    for mistakes in (check_data(two_sets).mistakes, dry(two_sets).mistakes):
        assert len(mistakes) == 2
        assert "/wall/" not in mistakes[0]
        assert "/wall/" in mistakes[1]
