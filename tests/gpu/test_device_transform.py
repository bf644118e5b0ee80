"""The device transform and the loader's page-locked batches on a GPU."""

import pytest
import torch

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_equals_the_cpu(order):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 8, 16, 16, 3), dtype=torch.uint8, generator=generator)
    batch = ClipBatch(frames, [torch.tensor([1, 2])], torch.arange(2), lighting=torch.randn(2, 3))
    transform = DeviceTransform((0.45, 0.4, 0.5), (0.225, 0.2, 0.25), order, 4)
    moved = batch.pin_memory().to(torch.device("cuda"))
    pairs = zip(
        transform(batch.frames, batch.lighting),
        transform(moved.frames, moved.lighting),
        strict=True,
    )
    for on_cpu, on_gpu in pairs:
        assert on_gpu.is_cuda
        # One fused multiply-add more or less in float32.
        assert torch.allclose(on_gpu.cpu(), on_cpu, atol=1e-5, rtol=0)


def test_resize_equals_the_cpu():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 8, 33, 33, 3), dtype=torch.uint8, generator=generator)
    resize = torch.tensor([[33, 40, 5, 3, 57, 69, 20, 16, 1], [33, 33, 1, 0, 57, 57, 9, 9, 0]])
    batch = ClipBatch(frames, [torch.tensor([1, 2])], torch.arange(2), resize=resize)
    transform = DeviceTransform((0.45, 0.4, 0.5), (0.225, 0.2, 0.25), "rgb", 4)
    on_gpu = transform.clips(batch.pin_memory().to(torch.device("cuda")))
    for ours, expected in zip(on_gpu, transform.clips(batch), strict=True):
        # As above; 2e-5 of these units is 0.001 grey levels.
        assert torch.allclose(ours.cpu(), expected, atol=2e-5, rtol=0)
