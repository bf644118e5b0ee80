import numpy as np
import pytest
import torch

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.transforms import Geometry, SourceWindow, place_float

MEAN, STD = (0.1, 0.4, 0.7), (0.2, 0.3, 0.5)


def frames(seed=0, shape=(2, 8, 5, 6, 3)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def naive(clip, channel_order, lighting=None):
    """Pixel by pixel formula in float64: (N, 3, T, H, W)."""
    pixels = clip.double() / 255
    if lighting is not None:
        pixels = pixels + lighting.double()[:, None, None, None, :]
    if channel_order == "rgb":
        pixels = pixels.flip(-1)
    pixels = (pixels - torch.tensor(MEAN)) / torch.tensor(STD)
    return pixels.permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("lit", [False, True])
def test_equals_the_formula(order, lit):
    lighting = torch.tensor([[0.01, -0.02, 0.03], [0.0, 0.05, -0.01]]) if lit else None
    slow, fast = DeviceTransform(MEAN, STD, order, 4)(frames(), lighting)
    expected = naive(frames(), order, lighting)
    # float32 of values up to 5: 1e-6 is a few units in the last place.
    assert torch.allclose(fast.double(), expected, atol=2e-6, rtol=0)
    assert slow.equal(fast[:, :, [0, 7]])
    assert fast.dtype == torch.float32
    assert fast.is_contiguous()


def test_input_is_left_alone():
    clip = frames()
    DeviceTransform(MEAN, STD, "rgb", 4)(clip)
    assert clip.equal(frames())


def test_unknown_channel_order_is_an_error():
    with pytest.raises(ValueError, match="gbr"):
        DeviceTransform(MEAN, STD, "gbr", 4)


SIZES = [(256, 456), (456, 256), (270, 480), (257, 455), (33, 33), (32, 32), (31, 57), (26, 40)]
GEOMETRIES = [((256, 320), 224), ((256, 320), 256), ((33, 300), 32), ((32, 32), 32)]


def windows(clip, placement):
    """Output of the worker for a clip (T, H, W, 3): its windows and the row for the device."""
    cut = SourceWindow(*clip.shape[1:3], placement)
    # Anything may be in the buffer before.
    out = np.full((len(clip), cut.side, cut.side, 3), 7, np.uint8)
    for frame, target in zip(clip, out, strict=True):
        cut.write(frame, target)
    return torch.from_numpy(out), cut.resize


@pytest.mark.parametrize(("scales", "crop"), GEOMETRIES)
def test_device_resize_is_the_float_pipeline(scales, crop):
    """At most 0.005 grey levels: on one machine both round in float32 alike, which gives 1e-4;
    where the compiler fuses no multiply-add, places in the frame differ by 2e-5 pixels.
    """
    grey = DeviceTransform((0, 0, 0), (1 / 255,) * 3, "bgr", 1)
    geometry = Geometry(scales, crop, crop)
    rng = np.random.default_rng(0)
    largest, flips, enlarged = 0.0, set(), 0
    for height, width in SIZES:
        batch = []
        for _ in range(4):
            clip = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
            placement = geometry.train(height, width, rng)
            if placement.height < height:
                continue
            flips.add(placement.flip)
            enlarged += placement.height > height
            exact = place_float(torch.from_numpy(clip), placement)
            batch.append((*windows(clip, placement), exact))
        if batch:
            frames, resize, exact = (torch.stack(part) for part in zip(*batch, strict=True))
            _, fast = grey(frames, resize=resize)
            difference = fast.permute(0, 2, 3, 4, 1) - exact
            largest = max(largest, float(difference.abs().max()))
    assert enlarged > 0
    assert flips == {True, False}
    assert largest <= 0.005


@pytest.mark.parametrize("height_width", [(256, 456), (400, 300)])
def test_frames_that_shrink_are_resized_before(height_width):
    """The worker shrinks them in uint8: at most 1.0 grey level off, and no more pixels leave it."""
    grey = DeviceTransform((0, 0, 0), (1 / 255,) * 3, "bgr", 1)
    rng = np.random.default_rng(0)
    for _ in range(8):
        clip = rng.integers(0, 256, (1, *height_width, 3), dtype=np.uint8)
        placement = Geometry((33, 100), 32, 32).train(*height_width, rng)
        frames, resize = windows(clip, placement)
        assert frames.shape == (1, 33, 33, 3)
        _, fast = grey(frames[None], resize=resize[None])
        exact = place_float(torch.from_numpy(clip), placement)
        assert (fast[0].permute(1, 2, 3, 0) - exact).abs().max() <= 1.0


def test_a_clip_of_256_pixels_leaves_the_worker_in_6_7_mb():
    placement = Geometry((256, 320), 256, 256).train(256, 456, np.random.default_rng(0))
    cut = SourceWindow(256, 456, placement)
    assert 32 * cut.side**2 * 3 <= 6.7e6


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_resized_clips_are_normalised_and_lit_like_others(order):
    """A window that is already the crop gives the same values as the crop."""
    crop = frames(shape=(2, 8, 6, 6, 3))
    padded = torch.zeros(2, 8, 7, 7, 3, dtype=torch.uint8)
    padded[:, :, :6, :6] = crop
    lighting = torch.tensor([[0.01, -0.02, 0.03], [0.0, 0.05, -0.01]])
    resize = torch.tensor([[6, 6, 0, 0, 6, 6, 0, 0, 0], [6, 6, 0, 0, 6, 6, 0, 0, 1]])
    transform = DeviceTransform(MEAN, STD, order, 4)
    crop[1] = crop[1].flip(2)
    for ours, expected in zip(
        transform(padded, lighting, resize), transform(crop, lighting), strict=True
    ):
        assert ours.equal(expected)
