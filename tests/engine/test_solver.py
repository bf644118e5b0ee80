"""Optimizer kernels, their state in other layouts, and scaled learning rates."""

import copy
from collections import defaultdict

import pytest
import torch
from torch import nn

from slowfast.engine.solver import _fit_state, build_optimizer, lr_at_epoch
from tests.engine.tiny_models import tiny_cfg

METHODS = ("sgd", "adam", "adamw")


@pytest.fixture
def conv():
    torch.manual_seed(0)
    return nn.Conv3d(4, 3, (1, 3, 3))


def run(module, cfg, steps=3, optimizer=None):
    optimizer = optimizer or build_optimizer(module, cfg)
    for step in range(steps):
        draw = torch.Generator().manual_seed(step)
        for p in module.parameters():
            p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=draw))
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("method", METHODS)
def test_the_fused_kernel_gives_the_same_update(conv, method):
    other = copy.deepcopy(conv)
    run(conv, tiny_cfg(SOLVER__OPTIMIZING_METHOD=method, SOLVER__FUSED="never"))
    run(other, tiny_cfg(SOLVER__OPTIMIZING_METHOD=method, SOLVER__FUSED="always"))
    # One float32 rounding per step; weights are below 1.
    torch.testing.assert_close(other.weight, conv.weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("choice", "device", "fused"),
    [
        *(("auto", "cpu", None), ("auto", "cuda", True)),
        *(("always", "cpu", True), ("never", "cuda", None)),
    ],
)
def test_auto_is_fused_on_cuda(choice, device, fused, conv, monkeypatch):
    monkeypatch.setattr("slowfast.engine.solver._device", lambda model: torch.device(device))
    optimizer = build_optimizer(conv, tiny_cfg(SOLVER__FUSED=choice))
    assert [group["fused"] for group in optimizer.param_groups] == [fused]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fused", ["always", "never"])
def test_a_state_of_another_layout_and_kernel_is_gone_on_with(conv, method, fused):
    other = copy.deepcopy(conv)
    cfg = tiny_cfg(SOLVER__OPTIMIZING_METHOD=method, SOLVER__FUSED=fused)
    plain = tiny_cfg(SOLVER__OPTIMIZING_METHOD=method, SOLVER__FUSED="never")
    first = run(conv, plain)
    other.load_state_dict(conv.state_dict())
    other.to(memory_format=torch.channels_last_3d)
    second = build_optimizer(other, cfg)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert {group["fused"] for group in second.param_groups} == {
        True if fused == "always" else None
    }
    for parameter, state in second.state.items():
        for value in state.values():
            if value is not None and value.shape == parameter.shape:
                assert value.stride() == parameter.stride()
    run(conv, plain, optimizer=first)
    run(other, cfg, optimizer=second)
    torch.testing.assert_close(other.weight, conv.weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["adam", "adamw"])
@pytest.mark.parametrize(("fused", "place"), [(True, "meta"), (None, "cpu")])
def test_the_count_of_steps_lies_where_the_kernel_reads_it(conv, method, fused, place):
    """On the weights' device for a fused kernel, which is handed its address; else on the host.
    The meta device stands for a GPU."""
    state = run(conv, tiny_cfg(SOLVER__OPTIMIZING_METHOD=method)).state_dict()
    optimizer = build_optimizer(conv, tiny_cfg(SOLVER__OPTIMIZING_METHOD=method))
    optimizer.load_state_dict(state)
    moved = {nn.Parameter(p.to("meta")): dict(s) for p, s in optimizer.state.items()}
    optimizer.state = defaultdict(dict, moved)
    _fit_state(optimizer, fused)
    assert moved
    for parameter, entries in optimizer.state.items():
        assert parameter.device.type == "meta"
        assert entries["step"].device.type == place
        assert entries["exp_avg"].device.type == "meta"


@pytest.mark.parametrize("epoch", [0.0, 0.5, 3.0, 29.9])
def test_the_learning_rate_is_scaled_where_a_reference_is_given(epoch):
    keys = {"SOLVER__WARMUP_EPOCHS": 1.0, "TRAIN__BATCH_SIZE": 96}
    plain = lr_at_epoch(tiny_cfg(**keys), epoch)
    assert lr_at_epoch(tiny_cfg(**keys, SOLVER__BASE_LR_BATCH_SIZE=64), epoch) == plain * 1.5
    keys["TRAIN__BATCH_SIZE"] = 8
    assert lr_at_epoch(tiny_cfg(**keys), epoch) == plain
