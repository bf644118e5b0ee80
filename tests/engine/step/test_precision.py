"""TRAIN.PRECISION and TEST.PRECISION; CUDA is played by a stand-in where the machine has none."""

import logging

import pytest
import torch

from slowfast.engine.preflight.device_checks import check_device
from slowfast.engine.step import precision
from slowfast.engine.step.precision import LossScale, check_precision, set_precision
from slowfast.engine.testing.view_scoring import ready_for_test
from slowfast.models.build import build_model
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import tiny_cfg

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _tf32_as_before():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    yield
    cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize("name", ["tf32", "fp16"])
def test_what_only_cuda_has_is_refused_on_a_cpu(name):
    with pytest.raises(UserError, match=rf"^TRAIN.PRECISION {name} needs CUDA.*fp32 or bf16$"):
        check_precision("TRAIN.PRECISION", name, CPU)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_what_a_cpu_has_is_allowed(name):
    check_precision("TRAIN.PRECISION", name, CPU)


def test_bf16_needs_a_gpu_that_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(UserError, match="no bf16 arithmetic"):
        check_precision("TEST.PRECISION", "bf16", CUDA)
    for name in ("fp32", "tf32", "fp16"):
        check_precision("TEST.PRECISION", name, CUDA)


@pytest.mark.parametrize(
    ("name", "tf32", "dtype"),
    [
        ("fp32", False, None),
        ("tf32", True, None),
        ("bf16", False, torch.bfloat16),
        ("fp16", False, torch.float16),
    ],
)
def test_precision_reaches_all_backbones_and_convolutions_alone(name, tf32, dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91500)
    model = build_model(tiny_cfg("EgoExoSlowFast"))
    set_precision(model, "tf32", CUDA)
    set_precision(model, name, CUDA)
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert model.ego._autocast_to == model.exo._autocast_to == dtype


@pytest.mark.parametrize(
    ("version", "precision", "channels_last", "mend"),
    [
        (91499, "bf16", False, "MODEL.CHANNELS_LAST True"),
        (90800, "fp16", False, "MODEL.CHANNELS_LAST True"),
        (91499, "bf16", True, ""),
        (90100, "bf16", False, "the precision to fp32"),
        (90100, "bf16", True, "the precision to fp32"),
        (90100, "fp16", False, ""),
        (91500, "bf16", False, ""),
    ],
)
def test_an_old_cudnn_is_warned_of(version, precision, channels_last, mend, monkeypatch, caplog):
    logging.getLogger("slowfast").propagate = True
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: version)
    model = build_model(tiny_cfg(MODEL__CHANNELS_LAST=channels_last))
    set_precision(model, "fp32", CUDA)
    assert not caplog.records
    set_precision(model, precision, CUDA)
    told = [r.getMessage() for r in caplog.records]
    assert len(told) == bool(mend)
    assert all(text.startswith("cuDNN 9.") and text.endswith(f"set {mend}") for text in told)


@pytest.mark.parametrize("supported", [True, False])
def test_a_processor_without_bf16_is_warned_of(supported, monkeypatch, caplog):
    logging.getLogger("slowfast").propagate = True
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: supported)
    set_precision(build_model(tiny_cfg()), "bf16", CPU)
    assert ["slower than fp32" in r.message for r in caplog.records] == [True] * (not supported)


def test_a_test_runs_in_its_precision_without_batch_norms():
    cfg = tiny_cfg(TEST__PRECISION="bf16", TEST__FOLD_BN=True)
    model = ready_for_test(build_model(cfg).train(), cfg, CPU)
    assert not model.training
    assert model._autocast_to == torch.bfloat16
    assert not any("running_mean" in name for name in model.state_dict())


def scale_after(flags, interval=3):
    scale = LossScale(CPU, initial=8.0, growth_interval=interval)
    for finite in flags:
        scale.update(torch.tensor(finite))
    return float(scale.value)


def test_the_scale_follows_overflows():
    assert scale_after([False]) == 4
    assert scale_after([True] * 2) == 8
    assert scale_after([True] * 3) == 16
    assert scale_after([True] * 2 + [False] + [True] * 2) == 4
    assert scale_after([True] * 6) == 32
    assert scale_after([False] * 100) == 2.0**-14
    assert not LossScale(CPU, initial=2.0**-14).can_shrink()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TRAIN__PRECISION": "fp16"}, "TRAIN.PRECISION fp16 needs CUDA"),
        ({"TEST__PRECISION": "tf32"}, "TEST.PRECISION tf32 needs CUDA"),
        (
            {"SOLVER__ACCUMULATE": 5},
            "TRAIN.BATCH_SIZE 64 is 64 clips per process, not a multiple of SOLVER.ACC",
        ),
    ],
)
def test_what_this_machine_cannot_do_is_one_line(changes, message):
    with pytest.raises(UserError) as caught:
        check_device(tiny_cfg(**changes), CPU, 1)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    off = {f"{name}__ENABLE": False for name in ("TRAIN", "TEST")}
    check_device(tiny_cfg(**changes, **off), CPU, 1)


def test_on_cuda_all_of_it_is_allowed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    for name in ("fp32", "tf32", "bf16", "fp16"):
        check_device(tiny_cfg(TRAIN__PRECISION=name), CUDA, 1)


def test_clips_of_a_process_depend_on_how_many_there_are():
    cfg = tiny_cfg(TRAIN__BATCH_SIZE=8, SOLVER__ACCUMULATE=4)
    check_device(cfg, CPU, 2)
    with pytest.raises(UserError, match="2 clips per process"):
        check_device(cfg, CPU, 4)
