"""EgoExoLearn: labels, narrations and frame spans, of tiny files and of the published ones."""

from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset
from slowfast.datasets.pairing.label_map import build_label_map, ego_class
from slowfast.datasets.registry import build_source
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_video

HEADER = "video_id,annotation_id,start_sec,end_sec,verb,noun,scenario\n"
ROWS = 'v1,a1,0.0,0.5,"[1, 0, 1]",[1],kitchen\nv1,a2,0.4,1.0,[],[],lab\n'
VERBS = "label,group\n\"cut_(trim,_slice)\",\"['cut', 'trim', 'dice']\"\nhold,\"['hold','grip']\"\n"
NOUNS = "label,group\nknife,\"['knife', 'blade']\"\nmeat,\"['meat']\"\n"


def write(root: Path, rows: str = ROWS) -> CfgNode:
    for view in ("ego", "exo"):
        for split in ("train", "val"):
            (root / f"{view}_{split}_valid.csv").write_text(HEADER + rows)
    (root / "narration_verb_taxonomy.csv").write_text(VERBS)
    (root / "narration_noun_taxonomy.csv").write_text(NOUNS)
    (root / "exo_train.csv").write_text("annotation_id,narration_en\na1,Hold the meat.\n")
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = cfg.EXO.PATH_TO_DATA_DIR = str(root)
    cfg.MODEL.NUM_CLASSES_LIST = cfg.EXO.NUM_CLASSES_LIST = [2, 2]
    cfg.DATA.NUM_FRAMES = cfg.EXO.NUM_FRAMES = 8
    cfg.DATA.TRAIN_JITTER_SCALES = [28, 36]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 24
    return cfg


def test_segments(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    exo = build_source("egoexolearn", cfg, "train", "exo").annotations()
    first, second = exo.segments
    assert (first.start_frame, first.stop_frame, first.labels) == (1, 15, ((1, 0), (1,)))
    assert (second.start_frame, second.stop_frame, second.labels) == (13, 30, ((), ()))
    assert [s.narration for s in exo.segments] == ["Hold the meat.", "lab"]
    assert exo.class_names[1] == ("knife", "meat")
    ego = build_source("egoexolearn", cfg, "test", "ego").annotations()
    assert [s.narration for s in ego.segments] == ["hold cut meat", "lab"]


def test_clips(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    make_video(tmp_path / "v1", 30)
    exo = build_dataset("egoexolearn", cfg, "train", "exo")
    assert exo[0].frames.shape == (8, 24, 24, 3)
    assert [label.tolist() for label in exo[0].labels] == [[1.0, 1.0], [0.0, 1.0]]
    ego = build_dataset("egoexolearn", cfg, "val", "ego")
    assert [int(label) for label in ego[0].labels] == [1, 1]
    assert [int(label) for label in ego[1].labels] == [-1, -1]


def test_words_of_the_taxonomy_find_ego_classes(tmp_path: Path) -> None:
    source = build_source("egoexolearn", write(tmp_path), "train", "exo")
    tables = source.class_tables()
    assert tables[0].ids["dice"] == 0
    epic = tmp_path / "epic.csv"
    epic.write_text("id,key,instances\n0,grab,\"['grip']\"\n1,trim,\"['trim']\"\n")
    names = [list(table.keys) for table in tables]
    assert build_label_map(names[:1], [epic], None, ["verb"], tables[:1]) == ((1, 0),)
    assert build_label_map(names[:1], [epic], None, ["verb"]) == ((1, None),)
    assert ego_class("cut_(trim,_slice)", {"slice": 4}) == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("v1,a1,1.0,0.5,[0],[0],lab\n", "line 2 lasts from 1.0 s to 0.5 s"),
        ("v1,a1,x,0.5,[0],[0],lab\n", "line 2 has start_sec 'x', not a time"),
        ("v1,a1,nan,0.5,[0],[0],lab\n", "line 2 lasts from nan s"),
        ("v1,a1,0,0.5,[2],[0],lab\n", "line 2: verb is '[2]'; give ids below 2"),
        ("v1,a1,0,0.5,[0],pan,lab\n", "line 2: noun is 'pan', not a list"),
        (",a1,0,0.5,[0],[0],lab\n", "line 2 has the video_id ''"),
        ("v1,a1,0,1,[0],[0],lab\nv1,a1,0,1,[0],[0],lab\n", "line 3 repeats annotation_id a1"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: str, message: str) -> None:
    cfg = write(tmp_path, rows)
    with pytest.raises(UserError) as error:
        build_source("egoexolearn", cfg, "train", "exo").annotations()
    assert message in str(error.value)


def test_other_class_counts(tmp_path: Path) -> None:
    cfg = write(tmp_path)
    cfg.EXO.NUM_CLASSES_LIST = [2, 3]
    with pytest.raises(UserError, match=r"set it to \[2, 2\]"):
        build_source("egoexolearn", cfg, "train", "exo").annotations()


@pytest.mark.parametrize(
    ("view", "split", "count"),
    [("ego", "train", 34584), ("ego", "val", 7701), ("exo", "train", 6090), ("exo", "val", 2076)],
)
def test_published_files(real_annotations: Path, view: str, split: str, count: int) -> None:
    cfg = get_cfg()
    folder = str(real_annotations / "egoexolearn")
    cfg.DATA.PATH_TO_DATA_DIR = cfg.EXO.PATH_TO_DATA_DIR = folder
    cfg.MODEL.NUM_CLASSES_LIST = cfg.EXO.NUM_CLASSES_LIST = [125, 627]
    found = build_source("egoexolearn", cfg, split, view).annotations()
    assert len(found.segments) == count
    assert all(segment.narration for segment in found.segments)
    if (view, split) == ("exo", "train"):
        first = found.segments[0]
        assert first.narration.startswith("Use your left hand to hold down the meat piece")
        assert first.labels == ((17, 52, 93, 36), (296, 268))
        nouns = [found.class_names[1][label] for label in first.labels[1]]
        assert [name.split("_(")[0] for name in nouns] == ["meat", "knife"]
