"""End to end on real frames: frame list, folder, JPEG, sampling, crop, model input.

Validation clips are not resized (256 to 256 pixels), so only float rounding may differ: 0.005
grey levels. Test clips are resized in uint8: 1.0 at most, 0.5 on average.
"""

import json
import os
import tarfile

import numpy as np
import pytest

from slowfast.config.defaults import get_cfg
from slowfast.datasets import build_dataset, load_clip

GREY = 255 * 0.225
KEPT = "fast_frames_kept"


@pytest.fixture(scope="module")
def stored(golden):
    return json.loads((golden / "dataset_real_frames.json").read_text())


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "dataset_real_frames.npz") as npz:
        return dict(npz)


@pytest.fixture(scope="module")
def cfg(real, stored, tmp_path_factory):
    """EPIC-100 as downloaded: a frame list of 12 rows and the frames that they need."""
    root = tmp_path_factory.mktemp("epic")
    rows = [row["narration_id"] for row in stored["annotation_rows"]]
    header, *lines = (real / "EPIC_100_validation.csv").read_text().splitlines()
    kept = {line.split(",")[0]: line for line in lines}
    (root / "list.csv").write_text("\n".join([header, *(kept[row] for row in rows)]) + "\n")
    extract(real / "frames_epic100_layout.tar", root / "frames", stored)
    cfg = get_cfg()
    cfg.DATA.EPIC_100 = True
    cfg.DATA.PATH_TO_DATA_DIR = str(root)
    cfg.DATA.PATH_PREFIX = str(root / "frames")
    cfg.TRAIN.VAL_DATA_LIST = cfg.TEST.DATA_LIST = "list.csv"
    cfg.DATA.TEST_CROP_SIZE = 256
    return cfg


def extract(archive, root, stored):
    """The frames of the stored items and of the rows that are tested whole."""
    pictures = stored["unique_frames"]
    numbers = {number for item in stored["items"] for number in item["frames"]}
    for row in stored["annotation_rows"][:4]:
        numbers.update(range(row["start_frame"], row["stop_frame"] + 1))
    folder = root / "P01" / "P01_11"
    with tarfile.open(archive) as tar:
        members = (member for member in tar if member.isreg())
        for _, member in zip(range(pictures), members, strict=False):
            tar.extract(member, root, filter="data")
    for number in numbers:
        picture = folder / f"frame_{(number - 1) % pictures + 1:010d}.jpg"
        target = folder / f"frame_{number:010d}.jpg"
        if not target.exists():
            os.link(picture, target)


def blocks(clip):
    side = clip.shape[-1] // 8
    return clip.reshape(*clip.shape[:2], side, 8, side, 8).astype(np.float64).mean((3, 5))


def assert_item(clip, key, arrays, kept, highest, mean):
    for name, pathway in zip(("slow", "fast"), clip, strict=True):
        pixels = pathway.numpy()
        frame_means = pixels.mean((2, 3), dtype=np.float64)
        pairs = [
            (frame_means, arrays[f"{key}_{name}_chan_frame_mean"]),
            (blocks(pixels if name == "slow" else pixels[:, kept]), arrays[f"{key}_{name}_blocks"]),
        ]
        for ours, theirs in pairs:
            difference = np.abs(ours - theirs) * GREY
            assert difference.max() <= highest, (key, name)
            assert difference.mean() <= mean, (key, name)
        stats = (pixels.mean(dtype=np.float64), pixels.std(dtype=np.float64))
        difference = np.abs(np.array(stats) - arrays[f"{key}_{name}_stats"][:2]) * GREY
        assert difference.max() <= mean, (key, name)


def test_labels_and_lengths(cfg, stored):
    for split in ("val", "test"):
        dataset = build_dataset("epickitchen", cfg, split)
        assert len(dataset) == len(stored["annotation_rows"])
        for item in stored["items"]:
            if item["key"].startswith(split):
                row = item["index"] // (1 if split == "val" else 30)
                assert [int(label) for label in dataset.labels(row)] == item["label"]


def test_validation_clips(cfg, stored, arrays):
    dataset = build_dataset("epickitchen", cfg, "val")
    items = [item for item in stored["items"] if item["key"].startswith("val")]
    assert len(items) == 12
    for item in items:
        numbers = dataset.sampling.validation(dataset.segments[item["index"]])
        assert numbers.tolist() == item["frames"]
        clip = load_clip(dataset, item["index"])
        assert [list(clip[0].shape), list(clip[1].shape)] == [
            item["slow_shape"],
            item["fast_shape"],
        ]
        assert_item(clip, item["key"], arrays, stored[KEPT], 0.005, 0.005)


def test_test_views(cfg, stored, arrays):
    larger = cfg.clone()
    larger.DATA.TEST_CROP_SIZE = 280
    dataset = build_dataset("epickitchen", larger, "test")
    items = [item for item in stored["items"] if item["key"].startswith("test")]
    assert len(items) == 16
    for item in items:
        row, view = divmod(item["index"], 30)
        numbers = dataset.sampling.views(dataset.segments[row], 10)[view // 3]
        assert numbers.tolist() == item["frames"]
        assert_item(load_clip(dataset, row, view), item["key"], arrays, stored[KEPT], 1.0, 0.5)


def test_all_views_of_a_segment_at_once(cfg, stored):
    """The views that the tester takes are those that are loaded one by one, bit for bit."""
    dataset = build_dataset("epickitchen", cfg, "test")
    for row, span in ((1, 55), (2, 109)):
        segment = dataset[row]
        assert dataset.segments[row].num_frames == span
        # 55 frames are fewer than a clip covers: its ten temporal views are one.
        assert len(segment.views) == (3 if span < 63 else 30)
        assert sum(view.weight for view in segment.views) == 30
        clips = segment.batch(0, len(segment.views)).frames
        for view in (0, 1, 2, 14, 29):
            position = view % 3 if span < 63 else view
            _, fast = dataset.transform(clips[position][None])
            assert fast[0].equal(load_clip(dataset, row, view)[1])


@pytest.mark.parametrize("decoder", ["simplejpeg", "opencv"])
def test_decoder_gives_the_published_pixels(cfg, stored, decoder):
    from slowfast.datasets.frames.image_files import make_decoder

    path = f"{cfg.DATA.PATH_PREFIX}/P01/P01_11/frame_0000000001.jpg"
    with open(path, "rb") as file:  # noqa: PTH123
        frame = make_decoder(decoder)(file.read())
    sums = frame.sum((0, 1), dtype=np.int64).tolist()
    assert sums == stored["decoded_frame_000_sum_per_channel_bgr"]
