"""Resize, crop, flip and colour equal the published float pipeline.

Limits in grey levels of 255: 1.0 at most and 0.5 on average where frames are resized in uint8
(rounding alone is 0.5 at most; OpenCV's fixed-point weights add the rest), 0.005 in float.
"""

import json

import numpy as np
import pytest
import torch

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.transforms import (
    Geometry,
    Placement,
    lighting_shift,
    place,
    place_float,
    resize,
    resized_size,
)

MEAN, STD = (0.45,) * 3, (0.225,) * 3
GREY = 255 * STD[0]
UINT8_MAX, UINT8_MEAN, FLOAT_MAX = 1.0, 0.5, 0.005


def frames_of(seed, height, width, count=2):
    rng = np.random.Generator(np.random.PCG64(seed))
    return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def placed(frames, placement):
    out = np.empty((len(frames), placement.size, placement.size, 3), np.uint8)
    for frame, target in zip(frames, out, strict=True):
        place(frame, placement, target)
    return torch.from_numpy(out)


def normalised(frames, channel_order="bgr", lighting=None):
    """(3, T, S, S) of uint8 frames (T, S, S, 3)."""
    return DeviceTransform(MEAN, STD, channel_order, 1)(frames[None], lighting)[1][0].numpy()


def normalised_float(frames, placement):
    pixels = place_float(torch.from_numpy(frames), placement).permute(3, 0, 1, 2)
    return ((pixels / 255 - MEAN[0]) / STD[0]).numpy()


def blocks(clip):
    """Means of 8x8 pixels; incomplete blocks are dropped."""
    height, width = (side // 8 * 8 for side in clip.shape[-2:])
    cut = clip[..., :height, :width].astype(np.float64)
    return cut.reshape(*clip.shape[:-2], height // 8, 8, width // 8, 8).mean((-3, -1))


def assert_close(ours, stored, exact, name):
    difference = np.abs(ours - stored) * GREY
    if exact:
        assert difference.max() <= FLOAT_MAX, name
    else:
        assert difference.max() <= UINT8_MAX, name
        assert difference.mean() <= UINT8_MEAN, name


def assert_case(frames, placement, arrays, name):
    """The float pipeline meets what is stored; the uint8 one meets it too, and every pixel of
    the float one."""
    rows = [0, placement.size // 2, placement.size - 1]
    ours = normalised(placed(frames, placement))
    exact = normalised_float(frames, placement)
    for clip, is_exact in ((exact, True), (ours, False)):
        assert_close(blocks(clip), arrays[f"{name}_blocks"], is_exact, name)
        if f"{name}_rows" in arrays:
            assert_close(clip[:, 0, rows], arrays[f"{name}_rows"], is_exact, name)
    assert_close(ours, exact, False, name)


@pytest.fixture(scope="module")
def spatial(golden):
    return json.loads((golden / "data_spatial.json").read_text())


@pytest.fixture(scope="module")
def arrays(golden):
    with np.load(golden / "data_spatial.npz") as stored:
        return dict(stored)


def test_sizes_and_offsets_of_test_crops(spatial):
    for case in spatial["deterministic"]:
        crop, position = (
            int(part[4:] if "crop" in part else part[3:]) for part in case["case"].split("_")[1:]
        )
        placement = Geometry((crop, crop), crop, crop).test(*case["in_hw"], position)
        assert [placement.height, placement.width] == case["resized_hw"], case
        assert [placement.top, placement.left] == case["offset_yx"], case


def test_pixels_of_test_crops(spatial, arrays):
    for case in spatial["deterministic"]:
        size = case["out_hw"][0]
        placement = Placement(*case["resized_hw"], *case["offset_yx"], size)
        assert_case(frames_of(case["frame_seed"], *case["in_hw"]), placement, arrays, case["case"])


def test_pixels_of_views_cut_from_whole_resized_frames(spatial):
    """A view out of a resized frame is the crop that is made alone, bit for bit."""
    for case in spatial["deterministic"]:
        height, width = case["resized_hw"]
        top, left = case["offset_yx"]
        size = case["out_hw"][0]
        frames = frames_of(case["frame_seed"], *case["in_hw"])
        whole = np.empty((height, width, 3), np.uint8)
        resize(frames[0], height, width, whole)
        alone = placed(frames[:1], Placement(height, width, top, left, size))[0].numpy()
        assert np.array_equal(whole[top : top + size, left : left + size], alone), case["case"]


def test_training_with_the_published_draws(spatial, arrays):
    for case in spatial["train_random"]:
        height, width = 256, 456
        resized = resized_size(height, width, case["size"])
        assert resized == (case["size"], case["new_width"])
        placement = Placement(*resized, *case["offset_yx"], 256, case["flip"])
        assert_case(frames_of(case["frame_seed"], height, width), placement, arrays, case["case"])


def test_published_draws_lie_in_our_range(spatial):
    """Our generator can draw every short side that the published one drew."""
    for inverse in (False, True):
        rng = np.random.default_rng(0)
        geometry = Geometry((256, 320), 256, 256, inverse_uniform=inverse)
        ours = {geometry.train(256, 456, rng).height for _ in range(3000)}
        theirs = {c["size"] for c in spatial["train_random"] if c["inverse_uniform"] == inverse}
        assert theirs <= ours
        assert ours <= set(range(256, 321))


def test_exo_preprocessing(golden):
    stored = json.loads((golden / "data_exo_preprocess.json").read_text())
    with np.load(golden / "data_exo_preprocess.npz") as npz:
        arrays = dict(npz)
    for case in stored["cases"]:
        name = case["case"]
        frames = frames_of(case["frame_seed"], *case["in_hw"])
        resized = resized_size(*case["in_hw"], case["size"])
        assert resized[1] == case["new_width"]
        placement = Placement(*resized, *case["offset_yx"], 256, case["flip"])
        alpha = case["lighting_alpha"]
        lighting = None if alpha is None else lighting_shift(np.array(alpha))[None]
        clip = normalised(placed(frames, placement), "rgb", lighting)
        assert_close(clip[:, 0, [0, 128, 255]], arrays[f"{name}_rows"], False, name)
        assert_close(blocks(clip).swapaxes(0, 1), arrays[f"{name}_blocks"], False, name)
        mean = clip.mean((1, 2, 3), dtype=np.float64)
        assert_close(mean, np.array(case["mean_per_channel_out"]), False, name)


def test_channel_order_at_the_model(golden):
    stored = json.loads((golden / "data_exo_preprocess.json").read_text())
    probe = torch.tensor(stored["probe_bgr_storage"], dtype=torch.uint8).expand(1, 2, 2, 3)
    for order, view in (("bgr", "ego"), ("rgb", "exo")):
        entering = normalised(probe, order)[:, 0, 0, 0] * GREY + 255 * MEAN[0]
        assert entering == pytest.approx(stored[f"probe_channels_entering_model_{view}"], abs=1e-4)
