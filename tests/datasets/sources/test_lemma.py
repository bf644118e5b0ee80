"""LEMMA: segments, labels, narrations and frames."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.datasets import build_dataset, load_clip
from slowfast.datasets.sources.lemma_annotations import (
    clean_narration,
    read_lemma,
)
from slowfast.datasets.types import ClipSample, ImageListAnnotations, SampleKey, SegmentViews
from slowfast.utils.errors import UserError
from tests.datasets.sources.tiny_lemma import (
    GET_CUP,
    NOUNS,
    PUT_CUP,
    SPANS,
    VERBS,
    dump,
    records,
    segments,
    write_annotations,
    write_frames,
)


def read(root: Path, split: str = "train", **changes: object) -> ImageListAnnotations:
    settings: dict = {
        "view": "tpv",
        "segments_view": "tpv",
        "video_type": "all",
        "num_classes": (len(VERBS), len(NOUNS)),
    }
    return read_lemma(root / "annotations", split, **{**settings, **changes})


def lemma_config(root: Path) -> CfgNode:
    cfg = get_cfg()
    cfg.EXO.PATH_TO_DATA_DIR = str(root)
    cfg.EXO.NUM_CLASSES_LIST = [len(VERBS), len(NOUNS)]
    cfg.EXO.NUM_FRAMES = 8
    cfg.DATA.TRAIN_JITTER_SCALES = [28, 36]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 24
    cfg.TEST.NUM_ENSEMBLE_VIEWS = 2
    return cfg


def test_segments_labels_and_narrations(tmp_path: Path) -> None:
    found = read(write_annotations(tmp_path)).segments
    assert [(s.video_id, s.start_frame, s.stop_frame) for s in found] == [
        ("v1", 0, 9),
        ("v1", 14, 25),  # nobody acts in frames 10 to 13
        ("v2", 0, 11),
        ("v2", 12, 19),
    ]
    assert [s.labels for s in found] == [
        ((0,), (0,)),
        ((2,), (0, 2, 4)),
        ((1, 3), (1, 3)),  # both people, the idle one's verb too
        ((0, 2), (0, 2, 4)),
    ]
    assert [s.narration for s in found] == [
        "get cup",
        "put cup and plate to the table",
        "wash knife with sink",  # of the first person who acts
        "get cup",
    ]
    assert len({s.segment_id for s in found}) == len(found)
    assert [s.video_id for s in read(tmp_path, "val").segments] == ["v3"]


def test_class_names_and_image_paths(tmp_path: Path) -> None:
    found = read(write_annotations(tmp_path))
    assert found.class_names == (tuple(VERBS), tuple(NOUNS))
    assert set(found.image_paths) == {"v1", "v2"}
    assert len(found.image_paths["v2"]) == 20  # two people share a frame
    assert found.image_paths["v2"][13] == b"frames/v2/00013.jpg"


def test_frame_ids_need_not_begin_at_zero(tmp_path: Path) -> None:
    moved = [(video, start + 100, length) for video, start, length in segments()]
    found = read(write_annotations(tmp_path, frames=records(first_id=100), indices=moved))
    plain = read(write_annotations(tmp_path / "plain"))
    places = [[(s.start_frame, s.stop_frame, s.labels) for s in x.segments] for x in (found, plain)]
    assert places[0] == places[1]


@pytest.mark.parametrize("listed", [["v2"], ["v2|P1", "v2|P2"], ["v2|P2"]])
def test_segments_of_one_person_over_shared_frames(tmp_path: Path, listed: list[str]) -> None:
    """`v2|P2` follows the second person; the labels are those of all persons in the frames."""
    write_annotations(
        tmp_path,
        indices=[("v2|P2", 0, 12), ("v2|P2", 12, 8)],
        splits={"train": listed},
    )
    found = read(tmp_path).segments
    assert [s.participant_id for s in found] == ["P2", "P2"]
    assert [s.narration for s in found] == [
        "wash knife with sink",
        "put cup and plate to the table",
    ]
    assert [s.labels for s in found] == [((1, 3), (1, 3)), ((0, 2), (0, 2, 4))]


def test_an_idle_person_makes_no_segment_of_their_own(tmp_path: Path) -> None:
    write_annotations(tmp_path, indices=[("v2|P1", 0, 12), ("v2|P1", 12, 8)])
    assert [s.start_frame for s in read(tmp_path).segments] == [12]


def test_videos_named_with_a_person(tmp_path: Path) -> None:
    """As in the fpv files: every person has separate frames, the split lists plain names."""
    spans = {"v1|P1": SPANS["v1"], "v9|P1": SPANS["v3"]}
    write_annotations(tmp_path, frames=records(spans), indices=segments(spans))
    assert [s.video_id for s in read(tmp_path).segments] == ["v1|P1", "v1|P1"]


def test_labels_are_those_of_all_frames(tmp_path: Path) -> None:
    spans = {"v1": [(0, 5, (GET_CUP,)), (5, 5, (PUT_CUP,))]}
    write_annotations(tmp_path, frames=records(spans), indices=[("v1", 0, 10)])
    assert read(tmp_path).segments[0].labels == ((0, 2), (0, 2, 4))


def test_segment_beyond_the_video_ends_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_annotations(tmp_path, indices=[("v1", 14, 500)])
    assert read(tmp_path).segments[0].stop_frame == 25
    assert "1 segment(s) extend past the last frame" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": (4, 64)}, r"all_objs.json has 6 words.*set it to \[4, 6\]"),
        ({"view": "fpv"}, "rec_fpv_frames.p does not exist.*EXO.VIEW"),
        ({"video_type": "9x9"}, "9x9_train.json.* does not exist; set EXO.VIDEO_TYPE"),
    ],
)
def test_bad_settings(tmp_path: Path, changes: dict, message: str) -> None:
    write_annotations(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"frames": [("v1", 0, "P1")]}, "record 0 is not LEMMA's"),
        ({"frames": {"v1": 1}}, "does not hold a list"),
        ({"indices": [("v1", 0)]}, "cannot read entry 0 of .* as LEMMA's"),
        ({"indices": [("v1", 999, 4)]}, "4 frame.s. from frame 999 of v1"),
        ({"indices": [("v1", 10, 4)]}, "no segment with an interaction"),
        ({"splits": {"train": ["v1", "v4"]}, "indices": [("v4", 0, 4)]}, "set EXO.SEGMENTS_VIEW"),
        (
            {
                "frames": records({"v1": [(0, 4, (([(4, [[0]])], [1]),))]}),
                "indices": [("v1", 0, 4)],
            },
            "has verb 4, but the metadata lists only 4",
        ),
        (
            {
                "frames": records({"v1": [(0, 4, (([(0, [[0], [-1]])], [1]),))]}),
                "indices": [("v1", 0, 4)],
            },
            "has object -1, but the metadata lists only 6",
        ),
        (
            {
                "frames": records({"v1": [(0, 4, (([(0, [[0]])], [9]),))]}),
                "indices": [("v1", 0, 4)],
            },
            "has interaction 9, but the metadata lists only 4",
        ),
    ],
)
def test_bad_annotations(tmp_path: Path, content: dict, message: str) -> None:
    write_annotations(tmp_path, **content)
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_metadata_that_is_not_json(tmp_path: Path) -> None:
    write_annotations(tmp_path)
    (tmp_path / "annotations/metadata/all_hois.json").write_text("[1,")
    with pytest.raises(UserError, match=r"all_hois.json as a list of words"):
        read(tmp_path)


class _Mark:
    """Creates a folder if it is unpickled by an unsafe reader."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (self._path,)


@pytest.mark.parametrize("name", ["rec_tpv_frames.p", "rec_tpv_segments_indices.p"])
def test_pickles_cannot_run_code(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    write_annotations(tmp_path)
    dump(tmp_path / "annotations/full" / name, [_Mark(mark)])
    with pytest.raises(UserError, match=name):
        read(tmp_path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(_Mark(mark)))
    assert mark.exists()  # the payload works where nobody stops it


def test_clips(tmp_path: Path) -> None:
    write_frames(write_annotations(tmp_path))
    cfg = lemma_config(tmp_path)
    dataset = build_dataset("lemma", cfg, "train")
    assert len(dataset) == 4
    sample = dataset[SampleKey(0, 1)]
    assert isinstance(sample, ClipSample)
    assert sample.frames.shape == (8, 24, 24, 3)
    assert sample.lighting is not None
    verbs, nouns = sample.labels
    assert verbs.dtype == nouns.dtype == torch.float32
    assert verbs.tolist() == [0, 0, 1, 0]
    assert nouns.tolist() == [1, 0, 1, 0, 1, 0]
    # Picture n has a mean of about n % 100 + 100: frames 14 to 25 of the video, none before.
    levels = sample.frames.float().mean((1, 2, 3)) - 100
    assert levels.min() > 5
    slow, fast = load_clip(build_dataset("lemma", cfg, "val"), 0)
    assert (slow.shape, fast.shape) == ((3, 2, 24, 24), (3, 8, 24, 24))
    views = build_dataset("lemma", cfg, "test")[0]
    assert isinstance(views, SegmentViews)
    assert sum(view.weight for view in views.views) == 6


def test_published_clip_position_starts_before_the_segment(tmp_path: Path) -> None:
    write_frames(write_annotations(tmp_path))
    cfg = lemma_config(tmp_path)
    cfg.EXO.CLIP_POSITION = "first_frame"
    cfg.EXO.LIGHTING_STD = 0.0
    dataset = build_dataset("lemma", cfg, "val")
    first = dataset.clip(0).frames.float().mean((1, 2, 3))
    # Centred on frame 0: positions -8, -6, -4, -2 all show frame 0, then 2, 4, 6.
    assert np.allclose(first[:5], first[0], atol=0.5)
    assert first[5] > first[0] + 1


def test_missing_images(tmp_path: Path) -> None:
    write_frames(write_annotations(tmp_path))
    (tmp_path / "frames" / "v2").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"video v2 .*has no frame .*set EXO.PATH_PREFIX"):
        build_dataset("lemma", lemma_config(tmp_path), "train")


def test_image_folder_of_its_own(tmp_path: Path) -> None:
    write_frames(tmp_path / "images")
    cfg = lemma_config(write_annotations(tmp_path))
    cfg.EXO.PATH_PREFIX = str(tmp_path / "images")
    assert len(build_dataset("lemma", cfg, "train")) == 4


@pytest.mark.parametrize(
    ("hoi", "text"),
    [
        ("get${s0}@cup", "get cup"),
        ("wash${m0}@hands:{s1}@sink|tap", "wash hands with sink and tap"),
        ("pour${s0}@milk:{m1}@cup:{m2}@bottle", "pour milk to the cup with bottle"),
        ("null$", "null$"),
    ],
)
def test_clean_narration(hoi: str, text: str) -> None:
    assert clean_narration(hoi) == text
