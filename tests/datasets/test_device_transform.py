import pytest
import torch

from slowfast.datasets.device_transform import DeviceTransform

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
