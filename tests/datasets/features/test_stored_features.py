"""Features in place of frames: files of every layout, samples, and one line for every fault."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from slowfast.config import load_config
from slowfast.config.heads import HeadSpec
from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.features.dataset import FeatureDataset
from slowfast.datasets.features.files import feature_files
from slowfast.datasets.features.store import FeatureStore
from slowfast.datasets.from_cfg import clip_settings
from slowfast.datasets.partial import present_segments
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import SampleKey, Segment
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import tiny_cfg

HEADS = (HeadSpec("verb", 5, False), HeadSpec("noun", 7, False))
IDS = ("a", "bb", "c")
ON_FEATURES = ("TRAIN.ON_FEATURES", "True", "MODEL.BACKBONE", "features:8")
WIDTH = 4


def segments(ids: tuple[str, ...] = IDS) -> list[Segment]:
    return [Segment(name, "v", "p", 1, 9, "cut", ((1,), (k,))) for k, name in enumerate(ids)]


def made(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float16)


def write(path: Path, ids: tuple[str, ...] = IDS, **arrays: np.ndarray) -> Path:
    np.savez(path, segment_id=np.array(ids), **arrays)
    return path


def dataset(store: FeatureStore, split: str = "train") -> FeatureDataset:
    settings = clip_settings(
        tiny_cfg(TRAIN__ON_FEATURES=True, MODEL__BACKBONE="features:4"), "ego", HEADS
    )
    return FeatureDataset(segments(), split, store, settings)


def test_every_layout_gives_the_same_features(tmp_path: Path) -> None:
    views = made(3, 2, WIDTH)
    rows = {"views": views.reshape(6, WIDTH), "views.rows": np.array([2, 2, 2])}
    tensors = {"views": torch.from_numpy(views)}
    save_file(tensors, tmp_path / "c.safetensors", {"segment_id": json.dumps(IDS)})
    paths = [
        write(tmp_path / "a.npz", views=views),
        write(tmp_path / "b.npz", **rows),
        tmp_path / "c.safetensors",
        write(tmp_path / "d.npz", views=views[:, :, None]),
    ]
    stores = [FeatureStore([path], segments(), WIDTH) for path in paths]
    for store in stores:
        found = store.views_of(segments()[1]).views
        assert found.dtype == torch.float16
        assert torch.equal(found[:, 0], torch.from_numpy(views[1]))
    assert len({store.digest for store in stores}) == 1
    pooled = FeatureStore([write(tmp_path / "e.npz", pooled=views[:, 0])], segments(), WIDTH)
    assert torch.equal(pooled.views_of(segments()[2]).views[0, 0], torch.from_numpy(views[2, 0]))
    assert feature_files([str(tmp_path)], "FEATURES.EGO") == [*paths, tmp_path / "e.npz"]


def test_samples_are_stored_views(tmp_path: Path) -> None:
    views, weights = made(3, 4, 2, WIDTH), np.full((3, 4), 3)
    store = FeatureStore([write(tmp_path / "f.npz", views=views, weights=weights)], segments(), 4)
    data = dataset(store)
    drawn = {
        epoch: data[SampleKey(epoch, 1)].frames  # type: ignore[union-attr]
        for epoch in range(40)
    }
    assert torch.equal(drawn[3], dataset(store).train_clip(SampleKey(3, 1)).frames)
    assert len({tuple(clip.flatten().tolist()) for clip in drawn.values()}) == 4
    middle = data.validation_clip(SampleKey(0, 2))
    assert torch.equal(middle.frames[0], torch.from_numpy(views[2, 2]))
    (tokens,) = data.transform.clips(collate_clips([middle, middle]))
    assert tokens.shape == (2, WIDTH, 2, 1, 1)
    assert tokens.dtype == torch.float32
    tested = dataset(store, "test").segment_views(0)
    assert [view.weight for view in tested.views] == [3] * 4
    (batch,) = data.transform.clips(tested.batch(1, 3))
    expected = torch.from_numpy(views[0, 1:3]).float().transpose(1, 2)
    assert torch.equal(batch[..., 0, 0], expected)


def test_labels_are_those_of_clips(tmp_path: Path) -> None:
    heads = (HeadSpec("verb", 5, False), HeadSpec("noun", 7, True), HeadSpec("tool", 3, True))
    labels = [((1,), (0, 6), ()), ((), (2,), ()), ((4,), (), ())]
    listed = [Segment(n, "v", "p", 1, 9, "", y) for n, y in zip(IDS, labels, strict=True)]
    store = FeatureStore([write(tmp_path / "f.npz", pooled=made(3, WIDTH))], listed, WIDTH)
    settings = replace(dataset(store).settings, heads=heads)
    data = FeatureDataset(listed, "train", store, settings)
    clips = SegmentDataset(listed, "train", store, settings)
    for index in range(3):
        for found, expected in zip(data.labels(index), clips.labels(index), strict=True):
            assert found.dtype == expected.dtype
            assert torch.equal(found, expected)
    batch = collate_clips([data.train_clip(SampleKey(0, index)) for index in range(3)])
    assert batch.labels[1].tolist() == [[1, 0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0, 0], [0.0] * 7]
    assert len(FeatureDataset([], "val", store, settings)) == 0


def test_segments_without_features(tmp_path: Path) -> None:
    path = write(tmp_path / "f.npz", ("a", "c", "other"), views=made(3, 1, WIDTH))
    store = FeatureStore([path], segments(), WIDTH)
    with pytest.raises(UserError, match=r"segment bb has no features in .*ON_MISSING_VIDEO skip"):
        present_segments(segments(), store, HEADS, skip=False, what="ego data")
    kept, left_out = present_segments(segments(), store, HEADS, skip=True, what="ego data")
    assert [segment.segment_id for segment in kept] == ["a", "c"]
    assert left_out is not None
    assert left_out.kept.tolist() == [0, 2]
    none = FeatureStore([path], [], WIDTH)
    with pytest.raises(UserError, match="all of its videos are missing: segment a has no features"):
        present_segments(segments(), none, HEADS, skip=True, what="ego data")


VIEWS = made(3, 2, WIDTH)
FAULTS = {
    "channels": ({"views": made(3, 2, 5)}, r"features of 5 channels, .* features:4"),
    "no features": ({}, "neither views nor pooled"),
    "not finite": ({"views": np.full((3, 1, WIDTH), np.nan)}, "NaN or infinite"),
    "segments": ({"views": made(2, 2, WIDTH)}, r"views is \(2, 2, 4\) for 3 segments"),
    "flat": ({"views": made(3, WIDTH)}, r"views is \(3, 4\) for 3 segments"),
    "text": ({"views": np.array(["x", "y", "z"])}, "instead of numbers"),
    "integers": ({"views": np.ones((3, 1, WIDTH), int)}, "views is torch.int64"),
    "rows": (
        {"views": made(6, WIDTH), "views.rows": np.array([1, 2, 2])},
        "does not divide 6 views among 3 segments",
    ),
    "fractional rows": (
        {"views": made(6, WIDTH), "views.rows": np.array([1.5, 1.5, 3])},
        "views.rows is torch.float64 instead of integers",
    ),
    "no tokens": ({"views": made(3, 2, 0, WIDTH)}, r"views is torch.float16 \(6, 0, 4\)"),
    "weights": ({"views": VIEWS, "weights": np.zeros((3, 2), int)}, "a number from 1"),
    "fractional weights": (
        {"views": VIEWS, "weights": np.full((3, 2), 1.5)},
        "weights is torch.float64 instead of integers",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_does_not_fit_is_named(name: str, tmp_path: Path) -> None:
    arrays, message = FAULTS[name]
    path = write(tmp_path / "f.npz", **arrays)
    with pytest.raises(UserError, match=message) as error:
        FeatureStore([path], segments(), WIDTH)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_files_and_files_without_ids(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.npz", views=VIEWS)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-40])
    bare = tmp_path / "bare.npz"
    np.savez(bare, views=VIEWS)
    anonymous = tmp_path / "anonymous.safetensors"
    save_file({"views": torch.from_numpy(VIEWS)}, anonymous)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(anonymous.read_bytes()[:30])
    eight_bits = tmp_path / "eight_bits.safetensors"
    views = torch.from_numpy(VIEWS).to(torch.float8_e4m3fn)
    save_file({"views": views}, eight_bits, {"segment_id": json.dumps(IDS)})
    numbers = tmp_path / "numbers.npz"
    np.savez(numbers, segment_id=np.arange(3), views=VIEWS)
    for path, message in (
        (cut, "a file of features"),
        (bare, "no array segment_id"),
        (anonymous, "no JSON list segment_id"),
        (broken, "a file of features"),
        (eight_bits, "views is torch.float8_e4m3fn"),
        (numbers, "segment_id is int64"),
    ):
        with pytest.raises(UserError, match=message) as error:
            FeatureStore([path], segments(), WIDTH)
        assert str(path) in str(error.value)
    with pytest.raises(UserError, match=r"segment a is in .*whole.npz twice"):
        FeatureStore([whole, whole], segments(), WIDTH)
    tokens = write(tmp_path / "tokens.npz", views=made(3, 2, 6, WIDTH))
    with pytest.raises(UserError, match=r"6 tokens a view, but .* has 1"):
        FeatureStore([whole, tokens], segments(), WIDTH)


def test_places_that_hold_no_features(tmp_path: Path) -> None:
    for places, message in (
        ([], "FEATURES.EXO is empty"),
        ([str(tmp_path)], "holds no .npz or .safetensors file"),
        ([str(tmp_path / "gone")], "does not exist; set FEATURES.EXO"),
    ):
        with pytest.raises(UserError, match=message):
            feature_files(places, "FEATURES.EXO")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["TRAIN.ON_FEATURES", "True"], "MODEL.BACKBONE is slowfast; set it to features:WIDTH"),
        (["MODEL.BACKBONE", "features:8"], "features:8, which needs TRAIN.ON_FEATURES True"),
        (["MODEL.BACKBONE", "features:0"], "is features:0, not features:WIDTH"),
        (["MODEL.BACKBONE", "features:x", "TRAIN.ON_FEATURES", "True"], "for example features:"),
        (
            [*ON_FEATURES, "TENSORBOARD.PAIRS", "3"],
            "TENSORBOARD.PAIRS is 3, .* reads no frames to draw; set TENSORBOARD.PAIRS to 0",
        ),
    ],
)
def test_keys_that_do_not_go_together(overrides: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("MODEL:\n  NUM_CLASSES_LIST: [5, 7]\n")
    with pytest.raises(UserError, match=message):
        load_config(tmp_path / "base.yaml", overrides)
