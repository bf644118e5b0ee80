"""The data set `epickitchen` from a config: lists, folders of both releases, splits."""

import logging

import pytest

from slowfast.config.defaults import get_cfg
from slowfast.datasets import build_dataset, load_clip
from slowfast.datasets.types import ClipSample, SegmentViews
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_video

HEADER_100 = "narration_id,participant_id,video_id,start_frame,stop_frame,narration"
LABELS = ",verb_class,noun_class"


@pytest.fixture
def cfg(tmp_path):
    """EPIC-100 with one new video, one of EPIC-55's train and one of its test folder."""
    make_video(tmp_path / "epic-100" / "P01" / "P01_101", 40)
    make_video(tmp_path / "epic-55" / "train" / "P01" / "P01_01", 40)
    make_video(tmp_path / "epic-55" / "test" / "P01" / "P01_11", 40)
    rows = [f"{v}_0,P01,{v},1,30,open door,3,5" for v in ("P01_101", "P01_01", "P01_11")]
    (tmp_path / "train.csv").write_text("\n".join([HEADER_100 + LABELS, *rows]) + "\n")
    test_rows = [row.removesuffix(",3,5") for row in rows]
    (tmp_path / "test.csv").write_text("\n".join([HEADER_100, *test_rows]) + "\n")
    cfg = get_cfg()
    cfg.DATA.EPIC_100 = True
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    cfg.DATA.PATH_PREFIX = str(tmp_path / "epic-100")
    cfg.DATA.FALLBACK_PATH_PREFIXES = [str(tmp_path / "epic-55" / d) for d in ("train", "test")]
    cfg.TRAIN.TRAIN_DATA_LIST = cfg.TRAIN.VAL_DATA_LIST = "train.csv"
    cfg.TEST.DATA_LIST = "test.csv"
    cfg.DATA.NUM_FRAMES = 8
    cfg.DATA.TRAIN_JITTER_SCALES = [28, 36]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = 24
    return cfg


def test_epic_100_finds_frames_in_all_three_folders(cfg, caplog):
    with caplog.at_level(logging.INFO):
        dataset = build_dataset("epickitchen", cfg, "train")
    assert len(dataset) == 3
    assert caplog.text.count("frames of 1 video(s) in") == 3
    for index in range(3):
        assert dataset[index].frames.shape == (8, 24, 24, 3)


def test_items_of_the_splits(cfg):
    kinds = {"train": ClipSample, "val": ClipSample, "test": SegmentViews}
    for split, kind in kinds.items():
        dataset = build_dataset("epickitchen", cfg, split)
        assert len(dataset) == 3
        item = dataset[0]
        assert isinstance(item, kind)
        assert [int(label) for label in item.labels] == ([-1, -1] if split == "test" else [3, 5])
    assert sum(view.weight for view in item.views) == 30


def test_test_views_follow_the_config(cfg):
    cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS = 1, 1
    dataset = build_dataset("epickitchen", cfg, "test")
    assert len(dataset[0].views) == 1
    assert load_clip(dataset, 0, 0)[1].equal(load_clip(dataset, 0)[1])


def test_reverse_input_channel(cfg):
    plain = load_clip(build_dataset("epickitchen", cfg, "val"), 0)[1]
    cfg.DATA.REVERSE_INPUT_CHANNEL = True
    reversed_ = load_clip(build_dataset("epickitchen", cfg, "val"), 0)[1]
    assert reversed_.equal(plain.flip(0))
    cfg.DATA.CHANNEL_ORDER = "rgb"
    assert load_clip(build_dataset("epickitchen", cfg, "val"), 0)[1].equal(plain)


def test_a_video_without_frames_is_named_before_training(cfg):
    cfg.DATA.FALLBACK_PATH_PREFIXES = cfg.DATA.FALLBACK_PATH_PREFIXES[:1]
    with pytest.raises(UserError, match=r"video P01_11 \(segment P01_11_0\) has no folder"):
        build_dataset("epickitchen", cfg, "val")


def test_unlabelled_lists_do_not_train(cfg):
    cfg.TRAIN.TRAIN_DATA_LIST = "test.csv"
    with pytest.raises(UserError, match=r"test\.csv has no column verb_class"):
        build_dataset("epickitchen", cfg, "train")


def test_unknown_data_set_names_the_known_ones(cfg):
    with pytest.raises(
        UserError, match=r"'kinetics' is not registered; choose one of.*epickitchen"
    ):
        build_dataset("kinetics", cfg, "train")
