import numpy as np
import pytest
import torch

from slowfast.datasets.clips.transforms import (
    Geometry,
    draw_lighting,
    lighting_shift,
    place,
    place_float,
    resize,
    resized_size,
)

SIZES = [(256, 456), (456, 256), (256, 341), (257, 455), (300, 300), (270, 480), (40, 90)]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_resized_size_rounds_the_long_side_down():
    assert resized_size(256, 456, 280) == (280, 498)
    assert resized_size(456, 256, 280) == (498, 280)
    assert resized_size(257, 455, 257) == (257, 455)


@pytest.mark.parametrize("height_width", SIZES)
@pytest.mark.parametrize("inverse", [False, True])
def test_random_crops_lie_inside_and_reach_every_edge(height_width, inverse):
    geometry = Geometry((36, 40), train_crop=32, test_crop=32, inverse_uniform=inverse)
    rng = np.random.default_rng(0)
    placements = [geometry.train(*height_width, rng) for _ in range(3000)]
    for axis, side in (("top", "height"), ("left", "width")):
        room = [getattr(p, side) - 32 - getattr(p, axis) for p in placements]
        assert min(room) == 0
        assert min(getattr(p, axis) for p in placements) == 0
    assert {min(p.height, p.width) for p in placements} == set(range(36, 41))
    # Standard deviation of the share of 3000 fair draws: 0.9 %.
    assert np.mean([p.flip for p in placements]) == pytest.approx(0.5, abs=0.05)


def test_a_frame_of_the_size_of_the_crop_is_taken_whole():
    geometry = Geometry((32, 32), 32, 32, flip=False)
    placement = geometry.train(32, 32, np.random.default_rng(0))
    out = np.empty((32, 32, 3), np.uint8)
    place(noise(32, 32), placement, out)
    assert np.array_equal(out, noise(32, 32))


@pytest.mark.parametrize("height_width", SIZES)
def test_crop_is_that_of_the_whole_resized_frame(height_width):
    """Only the corner that the crop needs is resized; pixels must not change, bit for bit."""
    geometry = Geometry((33, 300), train_crop=32, test_crop=32)
    rng = np.random.default_rng(1)
    frame = noise(*height_width)
    for _ in range(20):
        p = geometry.train(*height_width, rng)
        out = np.empty((p.size, p.size, 3), np.uint8)
        place(frame, p, out)
        whole = np.empty((p.height, p.width, 3), np.uint8)
        resize(frame, p.height, p.width, whole)
        crop = whole[p.top : p.top + p.size, p.left : p.left + p.size]
        assert np.array_equal(out, crop[:, ::-1] if p.flip else crop), p
        exact = place_float(torch.from_numpy(frame)[None], p)[0].numpy()
        # Rounding is 0.5; OpenCV's fixed-point weights add less than another 0.5.
        assert np.abs(exact - out).max() <= 1.0


def test_crops_of_a_test_frame():
    geometry = Geometry((32, 32), 32, 32)
    wide = [geometry.test(32, 75, crop) for crop in range(3)]
    assert [(p.top, p.left) for p in wide] == [(0, 0), (0, 22), (0, 43)]
    tall = [geometry.test(75, 32, crop) for crop in range(3)]
    assert [(p.top, p.left) for p in tall] == [(0, 0), (22, 0), (43, 0)]


def test_a_crop_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="crop of 40"):
        Geometry((36, 40), train_crop=40, test_crop=40)


def test_lighting_is_in_stored_channel_order():
    """The components are repeated here: R, G, B rows, reversed for stored B, G, R."""
    alpha = np.array([0.1, -0.2, 0.05])
    red = -0.5675 * 0.1 * 0.225 + 0.7192 * -0.2 * 0.224 + 0.4009 * 0.05 * 0.229
    blue = -0.5836 * 0.1 * 0.225 + -0.6948 * -0.2 * 0.224 + 0.4203 * 0.05 * 0.229
    shift = lighting_shift(alpha)
    assert shift[2].item() == pytest.approx(red, abs=1e-7)
    assert shift[0].item() == pytest.approx(blue, abs=1e-7)


def test_lighting_strength_scales_with_its_deviation():
    one = draw_lighting(0.1, np.random.default_rng(3))
    two = draw_lighting(0.2, np.random.default_rng(3))
    assert torch.allclose(two, 2 * one)
    assert one.dtype == torch.float32
    assert one.abs().max() > 0
