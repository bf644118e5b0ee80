"""EGTEA Gaze+: splits and action names in both published forms."""

from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset
from slowfast.datasets.registry import build_source
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_video


def config(folder: Path, heads: dict[str, int]) -> CfgNode:
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = str(folder)
    cfg.TRAIN.TRAIN_DATA_LIST, cfg.TRAIN.VAL_DATA_LIST = "training1.csv", "validation1.csv"
    cfg.MODEL.HEAD_NAMES, cfg.MODEL.NUM_CLASSES_LIST = list(heads), list(heads.values())
    cfg.DATA.NUM_FRAMES = 8
    cfg.DATA.TRAIN_JITTER_SCALES = [28, 36]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 24
    return cfg


def write(root: Path, rows: str) -> None:
    (root / "actions.csv").write_text("0, 0_0, Inspect/Read_recipe\n1, 1_1, Turn on_faucet\n")
    (root / "training1.csv").write_text(rows)


def test_segments_and_clips(tmp_path: Path) -> None:
    write(tmp_path, "7,P01-R01-Pizza,0,20,1,1,1\n9,P01-R01-Pizza,10,30,0,0,0\n")
    make_video(tmp_path / "P01-R01-Pizza", 30)
    dataset = build_dataset("egtea", config(tmp_path, {"action": 2, "verb": 2}), "train")
    assert [s.narration for s in dataset.segments] == ["turn on faucet", "inspect/read recipe"]
    assert [s.labels for s in dataset.segments] == [((1,), (1,)), ((0,), (0,))]
    assert (dataset.segments[0].start_frame, dataset.segments[0].stop_frame) == (1, 20)
    assert dataset[0].frames.shape == (8, 24, 24, 3)
    table = build_source("egtea", config(tmp_path, {"verb": 2}), "train", "ego").class_tables()[0]
    assert table.ids["read"] == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("7,v,1,20,1,1\n", "line 1 has 6 cells instead of 7"),
        ("7,v,20,1,1,1,1\n", "line 1 has stop frame 1 before start frame 20"),
        ("7,v,x,20,1,1,1\n", "line 1: start frame is 'x'; give a whole number below"),
        ("7,v,1,20,2,1,1\n", "line 1: verb is '2'; give a whole number below 2"),
        ("7,v,1,2,1,1,1\n7,v,1,2,1,1,1\n", "line 2 repeats the id 7"),
        ("7,,1,2,1,1,1\n", "line 1 has no id or no video"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: str, message: str) -> None:
    write(tmp_path, rows)
    source = build_source("egtea", config(tmp_path, {"verb": 2}), "train", "ego")
    with pytest.raises(UserError) as error:
        source.annotations()
    assert message in str(error.value)


def test_unknown_head(tmp_path: Path) -> None:
    write(tmp_path, "7,v,1,2,1,1,1\n")
    source = build_source("egtea", config(tmp_path, {"tool": 2}), "train", "ego")
    with pytest.raises(UserError, match=r"MODEL\.HEAD_NAMES has tool"):
        source.annotations()


CLIP = "OP01-R01-Pizza-1000-2000-F000024-F000048"
NAMES = {
    "action": "Take bread,eating_utensil 3\nInspect/Read recipe 1\nMove Around pan 2\n",
    "verb": "Inspect/Read 1\nMove Around 2\nTake 3\n",
    "noun": "recipe 1\npan 2\nbread 3\neating_utensil 4\n",
}


def write_official(root: Path, rows: str, **names: str) -> None:
    for kind, lines in {**NAMES, **names}.items():
        (root / f"{kind}_idx.txt").write_text(lines)
    for name in ("train", "test"):
        (root / f"{name}_split1.txt").write_text(rows)


def official(folder: Path, heads: dict[str, int]) -> CfgNode:
    cfg = config(folder, heads)
    cfg.TRAIN.TRAIN_DATA_LIST, cfg.TRAIN.VAL_DATA_LIST = "train_split1.txt", "test_split1.txt"
    return cfg


def test_official_splits(tmp_path: Path) -> None:
    write_official(tmp_path, f"{CLIP} 3 3 3 4\nP2-R1-X-0-9-F000000-F000000 1 1 1 \n\n")
    source = build_source("egtea", official(tmp_path, {"noun": 4, "action": 3}), "train", "ego")
    first, second = source.annotations().segments
    assert first == Segment(
        *(CLIP, "OP01-R01-Pizza", "OP01", 24, 48),
        *("take bread, eating utensil", ((2, 3), (2,))),
    )
    assert (second.start_frame, second.stop_frame, second.participant_id) == (1, 1, "P2")
    assert source.frame_rate == 24
    assert [table.num_classes for table in source.class_tables()] == [4, 3]
    assert source.class_tables()[1].keys[:2] == ("inspect/read recipe", "move around pan")


@pytest.mark.parametrize(
    ("rows", "names", "message"),
    [
        (f"{CLIP} 4 1 1", {}, "line 1 has the action '4', which action_idx.txt does not name"),
        (f"{CLIP} 0 1 1", {}, "line 1 has the action '0'"),
        (f"{CLIP} 1 x 1", {}, "line 1 has the verb 'x', which verb_idx.txt does not name"),
        (f"{CLIP} 1 1 1 ²", {}, "line 1 has the noun '²'"),
        (f"{CLIP} 1 1 2", {"noun": "a 1\nb 3\n"}, "line 1 has the noun '2'"),
        (f"{CLIP} 1 1", {}, "line 1 has 3 cells, not CLIP ACTION VERB NOUN"),
        (f"{CLIP} 1 1 1\n{CLIP} 1 1 1", {}, f"line 2 repeats the clip {CLIP}"),
        ("OP01-R01-Pizza.mp4 1 1 1", {}, "line 1 has the clip 'OP01-R01-Pizza.mp4', not VIDEO-"),
        ("P1/R1-0-9-F000001-F000002 1 1 1", {}, "line 1 has the clip 'P1/R1-0"),
        ("P1-R1-0-9-F000009-F000008 1 1 1", {}, "which stops before it starts"),
        (CLIP, {"verb": "Take\n"}, "line 1 is 'Take', not NAME ID"),
        (CLIP, {"verb": "1\n"}, "line 1 is '1', not NAME ID"),
        (CLIP, {"verb": "Take 0\n"}, "line 1 is 'Take 0', not NAME ID"),
        (CLIP, {"verb": "Take 1\nPut 1\n"}, "line 2 repeats the verb id 1"),
        (CLIP, {"verb": "Take 99999999\n"}, "line 1 is 'Take 99999999', not NAME ID"),
        ("<!DOCTYPE html>", {}, "is a web page, not the file itself"),
    ],
)
def test_bad_official_splits(
    tmp_path: Path, rows: str, names: dict[str, str], message: str
) -> None:
    write_official(tmp_path, rows, **names)
    source = build_source("egtea", official(tmp_path, {"verb": 3}), "train", "ego")
    with pytest.raises(UserError) as error:
        source.annotations()
    assert message in str(error.value)


@pytest.mark.parametrize(("split", "count"), [("train", 8299), ("val", 2022)])
def test_published_files(real_annotations: Path, split: str, count: int) -> None:
    folder = real_annotations / "egtea"
    cfg = config(folder, {"verb": 19, "noun": 51, "action": 106})
    source = build_source("egtea", cfg, split, "ego")
    assert [table.num_classes for table in source.class_tables()] == [19, 51, 106]
    assert source.class_tables()[0].keys[4] == "turn on"
    segments = source.annotations().segments
    assert len(segments) == count
    first = segments[0]
    assert (first.labels, first.narration) == {
        "train": (((2,), (2,), (2,)), "take eating:utensil"),
        "val": (((3,), (3,), (3,)), "cut tomato"),
    }[split]
