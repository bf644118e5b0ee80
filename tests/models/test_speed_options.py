"""Keys that only change how a model computes; and other kinds of batch norm."""

import copy

import pytest
import torch
from torch import nn

from slowfast.models.backbone import Backbone
from slowfast.models.convolution import Conv3d
from slowfast.models.dropout import SeededDropout
from slowfast.models.norms import (
    CpuSyncBatchNorm3d,
    FrozenBatchNorm3d,
    RunningStatistics,
    convert_norms,
    fold_batch_norms,
    kept_statistics,
)
from slowfast.models.published_names import published_state_dict
from slowfast.models.recompute import recomputed
from slowfast.models.slowfast import NUM_BLOCKS

EGO = "MultiTaskSlowFast"


@pytest.fixture(autouse=True)
def _shallow(monkeypatch):
    """One block per stage: enough of every kind of layer."""
    monkeypatch.setitem(NUM_BLOCKS, 50, (1, 1, 2, 1))


STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def gradients_and_statistics(model, clip):
    model.train()
    sum(x.logsumexp(1).mean() for x in model(clip)).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found.update({n: x.clone() for n, x in model.state_dict().items() if n.endswith(STATISTICS)})
    return found


def assert_close(ours, expected, relative):
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        # Relative to the largest value of each tensor.
        limit = relative * float(value.abs().max())
        torch.testing.assert_close(ours[name], value, rtol=0, atol=limit, msg=name)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "groups"),
    [
        ((1, 1, 1), (1, 1, 1), (0, 0, 0), (1, 1, 1), 1),
        ((1, 1, 1), (1, 2, 2), (0, 0, 0), (1, 1, 1), 1),
        ((1, 3, 3), (1, 2, 2), (0, 1, 1), (1, 1, 1), 2),
        ((1, 3, 3), (1, 1, 1), (0, 2, 2), (1, 2, 2), 1),
        ((3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 1, 1), 1),
        ((5, 1, 1), (4, 1, 1), (2, 0, 0), (1, 1, 1), 1),
        # These stay 3-D.
        ((5, 3, 3), (1, 2, 2), (2, 1, 1), (1, 1, 1), 1),
        ((1, 3, 3), (2, 1, 1), (0, 1, 1), (1, 1, 1), 1),
        ((3, 1, 1), (1, 2, 2), (1, 0, 0), (1, 1, 1), 1),
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_as_2d_is_the_3d_one(kernel, stride, padding, dilation, groups, bias):
    torch.manual_seed(0)
    conv = Conv3d(4, 6, kernel, stride, padding, dilation, groups, bias=bias).double()
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        x = torch.randn(2, 4, 8, 9, 10, dtype=torch.float64).to(memory_format=layout)
        conv.as_2d = False
        expected = conv(x)
        conv.as_2d = True
        # Sums of up to 180 products in float64.
        torch.testing.assert_close(conv(x), expected, rtol=1e-12, atol=1e-12)


def test_2d_convolutions_copy_no_channels_last_clip():
    x = torch.randn(2, 4, 8, 6, 6).to(memory_format=torch.channels_last_3d)
    for kernel, padding in (((1, 3, 3), (0, 1, 1)), ((3, 1, 1), (1, 0, 0))):
        conv = Conv3d(4, 4, kernel, padding=padding).to(memory_format=torch.channels_last_3d)
        conv.as_2d = True
        assert conv(x).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize(
    "option", [{"MODEL__CONV_2D": True}, {"MODEL__CHANNELS_LAST": True}, {"MODEL__COMPILE": True}]
)
def test_names_and_order_of_weights_stay(make_model, option):
    plain, changed = make_model(), make_model(**option)
    assert list(changed.state_dict()) == list(plain.state_dict())
    assert list(published_state_dict(changed)) == list(published_state_dict(plain))


@pytest.mark.parametrize(
    "option",
    [
        {"MODEL__CONV_2D": True},
        {"MODEL__CHANNELS_LAST": True},
        {"MODEL__CONV_2D": True, "MODEL__CHANNELS_LAST": True},
    ],
)
def test_layouts_and_2d_convolutions_change_rounding_alone(make_model, make_clip, option):
    clip = [x.double() for x in make_clip()]
    expected = gradients_and_statistics(make_model(EGO).double(), clip)
    found = gradients_and_statistics(make_model(EGO, **option).double(), clip)
    # Batch norm over few values amplifies rounding (1e-16) through 20 layers.
    assert_close(found, expected, 1e-8)


@pytest.mark.parametrize("gpus", [0, 1])
def test_auto_takes_what_was_measured_on_the_device(make_model, caplog, gpus):
    caplog.set_level("INFO")
    model = make_model(MODEL__SPEED_OPTIONS="auto", NUM_GPUS=gpus)
    convolutions = [module for module in model.modules() if isinstance(module, Conv3d)]
    assert {module.as_2d for module in convolutions} == {gpus == 0}
    weight = next(module.weight for module in convolutions if module.kernel_size == (1, 3, 3))
    assert weight.is_contiguous(memory_format=torch.channels_last_3d) == (gpus == 0)
    said = "none has been measured on CUDA" if gpus else "channels last and 2-D convolutions"
    assert caplog.text.count("MODEL.SPEED_OPTIONS auto: ") == 1
    assert said in caplog.text


def test_as_set_nothing_is_chosen(make_model, caplog):
    caplog.set_level("INFO")
    assert not any(getattr(module, "as_2d", False) for module in make_model().modules())
    assert "SPEED_OPTIONS" not in caplog.text


def test_compiled_backbones_compute_the_same(make_model, make_clip, monkeypatch):
    """Traced and run by torch's own operators: a machine may lack a C++ compiler."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda m, mode: compile_module(m, backend="eager"))
    clip = make_clip()
    expected = gradients_and_statistics(make_model(EGO), clip)
    torch._dynamo.reset()
    assert_close(gradients_and_statistics(make_model(EGO, MODEL__COMPILE=True), clip), expected, 0)


@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [
        ((3, 1, 1), 1, (2, 4, 4)),
        ((5, 1, 1), (2, 1, 1), (4, 4, 4)),
        ((5, 1, 1), 1, (3, 4, 4)),
        ((1, 3, 3), (1, 2, 2), (4, 1, 1)),
        ((3, 1, 1), 1, (8, 4, 4)),
    ],
)
def test_bf16_gradients_of_short_inputs(kernel, stride, size):
    """Shorter than the kernel along an axis; the last one is not."""
    padding = tuple(k // 2 for k in kernel)
    torch.manual_seed(0)
    conv = Conv3d(48, 16, kernel, stride=stride, padding=padding, bias=False)
    x = torch.randn(4, 48, *size)
    expected = torch.autograd.grad(conv(x).square().sum(), conv.weight)[0]
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    found = torch.autograd.grad(y.float().square().sum(), conv.weight)[0]
    # 8 bits in inputs, weights and outputs, summed over hundreds of positions.
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_recomputed_stages_give_the_same_step(make_model, make_clip):
    clip = make_clip()
    expected = gradients_and_statistics(make_model(EGO), clip)
    model = make_model(EGO, MODEL__RECOMPUTE_STAGES=["s1", "s2", "s3_fuse", "s5"])
    passes = []
    model.backbone.s2.register_forward_pre_hook(lambda *_: passes.append("s2"))
    model.backbone.s3.register_forward_pre_hook(lambda *_: passes.append("s3"))
    assert_close(gradients_and_statistics(model, clip), expected, 0)
    assert passes == ["s2", "s3", "s2"]
    assert all(norm.momentum == 0.1 for norm in model.modules() if hasattr(norm, "momentum"))
    passes.clear()
    with torch.no_grad():
        model(clip)
    model.eval()(clip)
    assert passes == ["s2", "s3"] * 2


@pytest.mark.parametrize("norm", [nn.BatchNorm3d, nn.SyncBatchNorm])
def test_kept_statistics(norm):
    """Of a synchronised batch norm, too, which insists on its counter of batches."""
    layer = norm(3).train()
    layer(torch.rand(2, 3, 2, 2, 2))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with kept_statistics(layer):
        layer(torch.rand(2, 3, 2, 2, 2))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])
    assert layer.momentum == 0.1
    layer(torch.rand(2, 3, 2, 2, 2))
    assert layer.num_batches_tracked == 2


def test_a_recomputed_stage_draws_the_same_dropout():
    def gradient(run):
        torch.manual_seed(0)
        stage = nn.Sequential(nn.Linear(64, 64), SeededDropout(0.5), nn.Linear(64, 8)).train()
        stage[1].reseed(3)
        x = torch.ones(4, 64)
        first, second = run(stage, x), run(stage, x)
        (first.square().sum() + second.sum()).backward()
        return stage[0].weight.grad, stage[1](torch.ones(4, 64))

    kept = gradient(lambda stage, x: stage(x))
    again = gradient(recomputed)
    # The next mask too is the one that follows two passes.
    assert torch.equal(again[0], kept[0])
    assert torch.equal(again[1], kept[1])


def test_frozen_norms_use_and_keep_their_statistics(make_model, make_clip, randomised):
    model = randomised(make_model(EGO, BN__NORM_TYPE="frozen")).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert norms
    assert all(isinstance(norm, FrozenBatchNorm3d) and not norm.training for norm in norms)
    clip = make_clip()
    before = {n: x.clone() for n, x in model.state_dict().items() if n.endswith(STATISTICS)}
    after = gradients_and_statistics(model, clip)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert after["backbone.s1.pathway0_stem.bn.weight"].abs().max() > 0
    plain = randomised(make_model(EGO)).eval()
    with torch.no_grad():
        for ours, theirs in zip(model.eval()(clip), plain(clip), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("gpus", "kind"), [(0, CpuSyncBatchNorm3d), (1, nn.SyncBatchNorm)])
def test_synchronised_norms_replace_all_and_share_their_weights(make_model, gpus, kind):
    model, plain = make_model(BN__NORM_TYPE="sync_batchnorm", NUM_GPUS=gpus), make_model()
    assert not any(type(m) is nn.BatchNorm3d for m in model.modules())
    assert any(isinstance(m, kind) for m in model.modules())
    state = plain.state_dict()
    assert all(torch.equal(x, state[name]) for name, x in model.state_dict().items())
    assert list(model.state_dict()) == list(state)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 0.0])
def test_a_synchronised_norm_of_one_process_is_a_batch_norm(training, momentum):
    norm = nn.BatchNorm3d(3, momentum=momentum).double().train(training)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -2, 0.5]))
        norm.bias.copy_(torch.tensor([0.0, 1, 2]))
    found = nn.ModuleList([copy.deepcopy(norm)])
    convert_norms(found, "sync_batchnorm", on_cpu=True)
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, 5, generator=draw, dtype=torch.float64).mul_(3).add_(1)
    gradients = []
    for layer in (norm, found[0]):
        leaf = x.clone().requires_grad_()
        layer(leaf).square().mul(leaf.detach()).sum().backward()
        gradients.append([leaf.grad, layer.weight.grad, layer.bias.grad, *layer.buffers()])
    for ours, expected in zip(*gradients[::-1], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    half = found[0].float()(x.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16


def test_frozen_stages_stay_frozen_with_other_norms(make_model):
    model = make_model(EGO, BN__NORM_TYPE="sync_batchnorm", MODEL__FREEZE_STAGES=2).train()
    stem = model.backbone.s1.pathway0_stem.bn
    assert not stem.training
    assert not stem.weight.requires_grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_folded_batch_norms_change_rounding_alone(make_model, make_clip, randomised, layout):
    model = randomised(make_model(EGO, TEST__NO_ACT=True)).eval().to(memory_format=layout)
    folded = copy.deepcopy(model)
    norms = sum(isinstance(m, nn.BatchNorm3d) for m in model.modules())
    assert fold_batch_norms(folded) == norms
    assert not any(isinstance(m, nn.BatchNorm3d) for m in folded.modules())
    clip = make_clip()
    with torch.no_grad():
        for ours, theirs in zip(folded(clip), model(clip), strict=True):
            # One rounding of each weight (6e-8) more or less, through 20 layers.
            limit = 2e-5 * float(theirs.abs().max())
            torch.testing.assert_close(ours, theirs, rtol=0, atol=limit)


def test_folded_convolutions_still_run_as_2d(make_model):
    model = make_model(EGO, MODEL__CONV_2D=True).eval()
    fold_batch_norms(model)
    assert model.backbone.s2.pathway0_res0.branch2.b.as_2d


def test_half_precision_stays_in_the_backbone(make_model, make_clip):
    model = make_model()
    for half in (model.ego, model.exo):
        half.autocast_backbone(torch.bfloat16)
    inside = []
    model.ego.backbone.s5.register_forward_hook(lambda m, a, out: inside.append(out[0].dtype))
    output = model.train()(make_clip(), make_clip(1))
    assert inside == [torch.bfloat16]
    assert {x.dtype for x in (*output.ego_logits, output.z_ego, output.z_exo)} == {torch.float32}
    # Norms of rows are those of float32, not of bf16 (4e-3).
    torch.testing.assert_close(output.z_ego.norm(dim=1), torch.ones(2), rtol=0, atol=1e-6)


def test_windows_of_half_precision_features_are_pooled_in_float32(make_model, make_clip):
    model = make_model(EGO, MODEL__HEAD_POOL="window", DATA__CROP_SIZE=32)
    model.autocast_backbone(torch.bfloat16)
    assert model.windows(make_clip(size=64)).dtype == torch.float32


def test_passes_of_one_step_update_statistics_once_by_their_mean():
    norm = nn.BatchNorm1d(3).train()
    statistics = RunningStatistics(norm)
    singles = []
    for seed in (0, 1):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
        alone = copy.deepcopy(norm)
        alone(x)
        singles.append(alone.running_var)
        norm(x)
        statistics.take_pass()
        assert norm.num_batches_tracked == 0
    statistics.put_mean()
    torch.testing.assert_close(norm.running_var, (singles[0] + singles[1]) / 2)
    assert norm.num_batches_tracked == 1


def test_a_stage_that_is_none_is_not_recomputed():
    class Small(Backbone):
        def __init__(self):
            super().__init__()
            self.s1 = nn.Linear(2, 2)

    small = Small().train()
    small.recompute_stages(["s2"])
    assert small.run_stage("s1", torch.ones(1, 2)).shape == (1, 2)
