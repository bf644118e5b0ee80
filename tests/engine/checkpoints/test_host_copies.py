"""Copies of a checkpoint's tensors: separate from the model, in the same memory at each save."""

from collections import OrderedDict

import torch

from slowfast.engine.checkpoints.host_copies import HostCopies


def content(weight):
    momentum = {"momentum_buffer": weight * 2, "step": 3}
    return {
        "model": OrderedDict(w=weight, view=weight[:, ::2]),
        "state": {0: momentum},
        "groups": [{"params": [0, 1], "lr": 0.1, "betas": (0.9, 0.99)}, weight.sum()],
        "epoch": 4,
    }


def test_copies_have_types_values_and_layout_and_no_memory_of_the_model():
    weight = torch.randn(2, 4, 3, 3, 3).to(memory_format=torch.channels_last_3d)
    source = content(weight.requires_grad_())
    copied = HostCopies()(source)
    assert type(copied["model"]) is OrderedDict
    assert list(copied) == list(source)
    assert copied["groups"][0] == source["groups"][0]
    assert (copied["epoch"], copied["state"][0]["step"]) == (4, 3)
    ours = copied["model"]["w"]
    before = ours.clone()
    assert torch.equal(ours, weight)
    assert not ours.requires_grad
    assert ours.stride() == weight.stride()
    with torch.no_grad():
        weight.fill_(7)
    assert torch.equal(ours, before)
    assert torch.equal(copied["model"]["view"], before[:, ::2])
    assert torch.equal(copied["state"][0]["momentum_buffer"], before * 2)


def test_the_next_save_takes_the_same_memory():
    copies = HostCopies()
    first = copies(content(torch.zeros(2, 4)))["model"]["w"]
    second = copies(content(torch.ones(2, 4)))["model"]["w"]
    assert second.data_ptr() == first.data_ptr()
    assert torch.equal(second, torch.ones(2, 4))


def test_a_tensor_of_another_kind_gets_new_memory():
    copies, kept = HostCopies(), []
    for tensor in (
        torch.zeros(2, 4),
        torch.zeros(4, 2),
        torch.zeros(4, 2, dtype=torch.float64),
        torch.zeros(2, 4, dtype=torch.float64).t(),
    ):
        copied = copies({"x": tensor})["x"]
        assert (copied.shape, copied.dtype, copied.stride()) == (
            *(tensor.shape, tensor.dtype, tensor.stride()),
        )
        kept.append(copied)
    assert len({tensor.data_ptr() for tensor in kept}) == len(kept)
    assert copies({}) == {}
    assert not copies._buffers
