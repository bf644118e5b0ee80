"""The backbone: values against plain functions at many sizes, shapes, widths, freezing."""

import copy

import pytest
import torch
from torch import nn

from slowfast.models.published_names import published_state_dict
from slowfast.models.resnet import BlockSpec, Bottleneck, ResBlock
from slowfast.models.slowfast import NUM_BLOCKS, FusionShape, SlowFastBackbone, StageShapes
from tests.models.functional_slowfast import slowfast


def make_backbone(**changes):
    options = {
        "num_blocks": NUM_BLOCKS[50],
        "width": 4,
        "alpha": 4,
        "beta_inv": 2,
        "fusion_ratio": 2,
        "fusion_kernel": 5,
        "temporal_blocks": [[3, 3], [4, 4], [6, 6], [3, 3]],
        "strides": [[1, 1], [2, 2], [2, 2], [2, 2]],
        "dilations": [[1, 1]] * 4,
    }
    options |= changes
    stages = ("num_blocks", "temporal_blocks", "strides", "dilations")
    return SlowFastBackbone(
        StageShapes(**{name: options.pop(name) for name in stages}),
        FusionShape(options.pop("fusion_ratio"), options.pop("fusion_kernel")),
        **options,
    )


def assert_features_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        # float32 rounding through 50 layers, relative to the largest value.
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5 * float(b.abs().max()))


@pytest.mark.parametrize(
    ("frames", "size"), [(8, 32), (16, 56), (32, 64), (4, 112), (8, 70), (12, 100)]
)
def test_equals_the_plain_function_at_any_size(randomised, make_clip, frames, size):
    backbone = randomised(make_backbone()).eval()
    clip = make_clip(frames=frames, size=size)
    with torch.no_grad():
        assert_features_equal(backbone(clip), slowfast(backbone.state_dict(), clip))


@pytest.mark.parametrize(
    ("changes", "functional"),
    [
        ({"fusion_kernel": 7}, {}),
        ({"fusion_ratio": 1, "width": 8, "beta_inv": 8}, {}),
        ({"alpha": 2}, {"alpha": 2}),
        ({"groups": 2}, {"groups": 2}),
        ({"num_blocks": (1, 2, 1, 3)}, {}),
        ({"temporal_blocks": [[3, 1], [0, 4], [2, 6], [1, 0]]}, {}),
        (
            {
                "strides": [[1, 1], [2, 2], [2, 2], [1, 1]],
                "dilations": [[1, 1], [1, 1], [1, 1], [2, 2]],
            },
            {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)},
        ),
    ],
)
def test_equals_the_plain_function_in_any_shape(randomised, make_clip, changes, functional):
    backbone = randomised(make_backbone(**changes)).eval()
    clip = make_clip(size=64, alpha=functional.get("alpha", 4))
    with torch.no_grad():
        assert_features_equal(backbone(clip), slowfast(backbone.state_dict(), clip, **functional))


@pytest.mark.parametrize(("size", "side"), [(224, 7), (256, 8), (280, 9), (112, 4), (64, 2)])
def test_features_of_r101(size, side):
    with torch.device("meta"):
        backbone = make_backbone(
            num_blocks=NUM_BLOCKS[101],
            width=64,
            beta_inv=8,
            temporal_blocks=[[3, 3], [4, 4], [23, 23], [3, 3]],
        )
        slow, fast = backbone([torch.empty(2, 3, 8, size, size), torch.empty(2, 3, 32, size, size)])
    assert slow.shape == (2, 2048, 8, side, side)
    assert fast.shape == (2, 256, 32, side, side)
    assert backbone.out_channels == (2048, 256)


def test_temporal_kernels_of_every_block():
    with torch.device("meta"):
        backbone = make_backbone(temporal_blocks=[[3, 2], [4, 4], [1, 6], [3, 0]])
    expected = {
        (2, 0): [1, 1, 1],
        (2, 1): [3, 3, 1],
        (3, 0): [1, 1, 1, 1],
        (3, 1): [3, 3, 3, 3],
        (4, 0): [3, 1, 1, 1, 1, 1],
        (4, 1): [3, 3, 3, 3, 3, 3],
        (5, 0): [3, 3, 3],
        (5, 1): [1, 1, 1],
    }
    for (stage, pathway), kernels in expected.items():
        blocks = [
            block
            for name, block in getattr(backbone, f"s{stage}").named_children()
            if name.startswith(f"pathway{pathway}_")
        ]
        assert [block.branch2.a.kernel_size[0] for block in blocks] == kernels
    assert backbone.s1.pathway0_stem.conv.kernel_size == (1, 7, 7)
    assert backbone.s1.pathway1_stem.conv.kernel_size == (5, 7, 7)


def test_in_place_relu_changes_memory_not_values(randomised, make_clip):
    backbone = randomised(make_backbone()).train()
    plain = make_backbone(inplace_relu=False).train()
    plain.load_state_dict(backbone.state_dict())
    assert {m.inplace for m in backbone.modules() if isinstance(m, nn.ReLU)} == {True}
    assert {m.inplace for m in plain.modules() if isinstance(m, nn.ReLU)} == {False}
    for a, b in zip(backbone(make_clip()), plain(make_clip()), strict=True):
        assert torch.equal(a, b)


def test_the_clip_is_left_as_it_is(make_clip):
    clip = make_clip()
    make_backbone()(clip)
    for a, b in zip(clip, make_clip(), strict=True):
        assert torch.equal(a, b)


def test_a_wrong_number_of_pathways_is_an_error(make_clip):
    with pytest.raises(ValueError):
        make_backbone()([make_clip()[1]])


def test_batch_norms_have_the_published_constants():
    norms = [m for m in make_backbone().modules() if isinstance(m, nn.BatchNorm3d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}


def test_blocks_start_as_identities_with_zero_init(make_model):
    model = make_model("MultiTaskSlowFast", RESNET__ZERO_INIT_FINAL_BN=True)
    finals = [m.c_bn.weight for m in model.modules() if isinstance(m, Bottleneck)]
    assert len(finals) == 32
    assert not any(weight.any() for weight in finals)
    other = make_model("MultiTaskSlowFast", RESNET__ZERO_INIT_FINAL_BN=False)
    assert all((m.c_bn.weight == 1).all() for m in other.modules() if isinstance(m, Bottleneck))
    block = ResBlock(BlockSpec(8, 4, 8, temporal_kernel=3))
    nn.init.zeros_(block.branch2.c_bn.weight)
    x = torch.rand(1, 8, 4, 6, 6)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_frozen_stages_keep_weights_and_statistics(randomised, make_clip, count):
    backbone = randomised(make_backbone())
    backbone.freeze_stages(count)
    backbone.train()
    before = copy.deepcopy(backbone.state_dict())
    trained = [p for p in backbone.parameters() if p.requires_grad]
    if trained:
        sum(x.mean() for x in backbone(make_clip())).backward()
        torch.optim.SGD(trained, lr=1.0).step()
    else:
        backbone(make_clip())
    changed = {
        name.split(".")[0]
        for name, tensor in backbone.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    names = [name for name, _ in backbone.named_children()]
    assert changed == {name for name in names if int(name[1]) > count}


def test_freezing_survives_a_copy_and_eval(make_clip):
    backbone = make_backbone()
    backbone.freeze_stages(2)
    copied = copy.deepcopy(backbone).eval().train()
    statistics = copied.s2.pathway0_res0.branch1_bn.running_mean.clone()
    copied(make_clip())
    assert torch.equal(copied.s2.pathway0_res0.branch1_bn.running_mean, statistics)
    assert not copied.s1.training
    assert not copied.s2_fuse.training
    assert copied.s3.training


def test_recogniser_equals_the_plain_function(randomised, make_model, make_clip):
    model = randomised(make_model("MultiTaskSlowFast", TASK="x")).eval()
    clip = make_clip(size=72)
    w = published_state_dict(model)
    features = slowfast(w, clip)
    pooled = torch.cat([x.flatten(2).mean(2) for x in features], 1)
    with torch.no_grad():
        ours = model(clip)
    for task, scores in enumerate(ours):
        name = f"headx.projections.{task}"
        logits = pooled @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        torch.testing.assert_close(scores, logits.softmax(1), rtol=0, atol=1e-5)
