"""Charades-Ego: videos, times of actions, and both views of a recording, of tiny files."""

from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import SampleKey
from slowfast.semantics.paired import paired_candidates
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_video

HEADER = "id,subject,script,objects,descriptions,actions,length\n"
ROWS = {
    "1st": 'AAAAAEGO,S1,"Opens a door, leaves.",door,She opens.;She goes.,c001 0.5 1.0;c000 0 2;'
    "c001 1.5 1,2.5\nBBBBBEGO,S2,Waits.,,,,2\n",
    "3rd": "BBBBB,S2,,,A man waits.;He sits.,,2\nAAAAA,S1,,,,c001 0 1,3.0\n",
}


def write(root: Path, rows: str | None = None) -> CfgNode:
    (root / "Charades_v1_classes.txt").write_text(
        "c000 Holding some clothes\nc001 Opening a door\n"
    )
    for person, text in ROWS.items():
        for split in ("train", "test"):
            name = f"CharadesEgo_v1_{split}_only{person}.csv"
            (root / name).write_text(HEADER + (text if rows is None else rows))
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = cfg.EXO.PATH_TO_DATA_DIR = str(root)
    cfg.MODEL.LOSS_FUNC = "bce_logit"
    cfg.MODEL.HEAD_NAMES = cfg.EXO.HEAD_NAMES = ["action"]
    cfg.MODEL.NUM_CLASSES_LIST = cfg.EXO.NUM_CLASSES_LIST = [2]
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 8, 1
    cfg.DATA.TRAIN_JITTER_SCALES = [28, 36]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 24
    return cfg


def test_videos_of_both_views(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    first, second = build_source("charades_ego", cfg, "train", "ego").annotations().segments
    assert (first.video_id, first.start_frame, first.stop_frame) == ("AAAAAEGO", 1, 60)
    assert first.labels == ((1, 0),)
    # 24 frames a second; the last action ends before it starts, so no frame has it.
    assert first.occurrences == (((1, 13, 24), (0, 1, 48), (1, 37, 24)),)
    assert first.narration == "Opens a door, leaves."
    assert second.labels == ((),)
    exo = build_source("charades_ego", cfg, "train", "exo").annotations()
    assert [s.narration for s in exo.segments] == ["A man waits.", "opening a door"]
    assert exo.class_names == (("holding some clothes", "opening a door"),)


def test_evaluation_leaves_out_videos_without_an_action(tmp_path: Path) -> None:
    found = build_source("charades_ego", write(tmp_path), "test", "ego").annotations()
    assert [segment.segment_id for segment in found.segments] == ["AAAAAEGO"]


def test_clips(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    for video in ("AAAAAEGO", "BBBBBEGO"):
        make_video(tmp_path / video, 60)
    train = build_dataset("charades_ego", cfg, "train")
    drawn = {tuple(train[SampleKey(epoch, 0)].labels[0].tolist()) for epoch in range(40)}
    assert drawn == {(1, 1), (1, 0), (0, 0)}
    validation = build_dataset("charades_ego", cfg, "val")
    assert validation[0].labels[0].tolist() == [1, 1]
    assert validation[0].frames.shape == (8, 24, 24, 3)


@pytest.mark.parametrize("columns", [["{id}EGO", "id"], ["{id}EGO", "{id}"]])
def test_official_list_pairs_the_views(tmp_path: Path, columns: list[str]) -> None:
    cfg = write(tmp_path)
    ego, exo = (
        build_source("charades_ego", cfg, "train", view).annotations().segments
        for view in ("ego", "exo")
    )
    path = tmp_path / "CharadesEgo_v1_train_only3rd.csv"
    assert paired_candidates(path, columns, ego, exo).tolist() == [[1], [0]]
    with pytest.raises(UserError, match=r"has no column video, which SUML\.PAIRS\.PAIRED_COLUMNS"):
        paired_candidates(path, ["{video}EGO", "id"], ego, exo)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A,S,,,,c001 0 1;c2 0 1,3\n", "line 2 has the action 'c2 0 1'; write `c127 FIRST LAST`"),
        ("A,S,,,,c002 0 1,3\n", "line 2 has the action 'c002 0 1'; write `c127 FIRST LAST` in"),
        ("A,S,,,,c001 0 nan,3\n", "line 2 has the action 'c001 0 nan'"),
        ("A,S,,,,c001 0,3\n", "line 2 has the action 'c001 0'"),
        ("A,S,,,,,x\n", "line 2 has length 'x', not a time"),
        ("A,S,,,,,0\n", "line 2 lasts from 0.0 s to 0.0 s"),
        (",S,,,,,3\n", "line 2 has the id ''; give an id of 1 to 512 characters"),
        ("A,S,,,,,3\nA,S,,,,,3\n", "line 3 repeats the id A; remove one of the rows"),
        ("A,S,,,,c001 0 1\n", "line 2 has no cell for length"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: str, message: str) -> None:
    cfg = write(tmp_path, rows)
    with pytest.raises(UserError) as error:
        build_source("charades_ego", cfg, "train", "exo").annotations()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c000 Holding\nc002 Opening\n", "line 2 is 'c002 Opening', not `c001 NAME`"),
        ("c000\n", "line 1 is 'c000', not `c000 NAME`"),
        ("", "is empty"),
        ("c000 Holding\n", r"MODEL.NUM_CLASSES_LIST is \[2\], but Charades-Ego has 1 actions"),
    ],
)
def test_bad_classes(tmp_path: Path, text: str, message: str) -> None:
    cfg = write(tmp_path)
    (tmp_path / "Charades_v1_classes.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        build_source("charades_ego", cfg, "train", "ego").annotations()
