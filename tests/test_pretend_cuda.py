"""The stand-in for a CUDA device sees what a real one would."""

import pytest
import torch

from tests.pretend_cuda import CUDA, HostWait, MixedDevices, host_may_wait, pretend_cuda


@pytest.fixture
def x():
    with pretend_cuda():
        yield torch.ones(3, 3, device=CUDA).requires_grad_()


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x[0, 0].item(),
        lambda x: bool(x.sum() > 0),
        lambda x: int(x.sum()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.to(torch.device("cpu")),
        lambda x: x.detach().numpy(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: torch.zeros(2, 2).to(x.device),
        lambda x: torch.zeros(3, 3).copy_(x.detach()),
        lambda x: torch.tensor([1.0], device=x.device),
    ],
)
def test_what_the_host_waits_for(read, x):
    with pytest.raises(HostWait):
        read(x)
    with host_may_wait():
        read(x)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.zeros(3),
        lambda x: torch.cat([x, torch.zeros(1, 3)]),
        lambda x: torch.stack([x.sum(), torch.tensor(0.0)]),
        lambda x: x @ torch.zeros(3, 2),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: torch.zeros(3)[x.new_zeros(1, dtype=torch.long)],
        lambda x: torch._foreach_add([x], [torch.zeros(3, 3)]),
    ],
)
def test_what_mixes_devices(mix, x):
    with pytest.raises(MixedDevices):
        mix(x)


def test_what_a_device_does_without_the_host(x):
    index = torch.tensor([0, 2]).pin_memory().to(CUDA, non_blocking=True)
    y = (x * torch.tensor(2.0))[index, :2].masked_fill(index[:, None] > 1, 0.0)
    y.sum().backward()
    found = [y, x.grad, torch.arange(2, device=CUDA), x.new_zeros(2), torch.empty_like(x)]
    assert {tensor.device for tensor in found} == {CUDA}
    assert all(tensor.is_cuda for tensor in found)
    with host_may_wait():
        assert x.grad.tolist() == [[2, 2, 0], [0, 0, 0], [0, 0, 0]]
