"""Models from a config."""

import pytest
import torch
from torch import nn

from slowfast.config import get_cfg
from slowfast.config.heads import single_head
from slowfast.models import MODEL_REGISTRY, build_model, build_test_model, register_model
from slowfast.models.backbone import Backbone
from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.recognizer import Recognizer
from slowfast.utils.errors import UserError

NAMES = ["SlowFast", "MultiTaskSlowFast", "ExoSlowFast", "EgoExoSlowFast"]


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("SlowFast", [6]),
        ("MultiTaskSlowFast", [5, 7]),
        ("ExoSlowFast", [4, 6]),
        ("EgoExoSlowFast", [5, 7]),
    ],
)
@pytest.mark.parametrize("no_act", [False, True])
def test_every_model_scores_a_clip(make_model, make_clip, name, classes, no_act):
    model = make_model(name, TEST__NO_ACT=no_act).eval()
    with torch.no_grad():
        scores = model(make_clip(clips=3))
    assert [tuple(x.shape) for x in scores] == [(3, k) for k in classes]
    sums_to_one = [bool(((x.sum(1) - 1).abs() < 1e-5).all()) for x in scores]
    assert sums_to_one == [not no_act and name != "ExoSlowFast"] * len(classes)


def test_exo_scores_are_sigmoids_of_the_logits(make_model, make_clip, randomised):
    scores = randomised(make_model("ExoSlowFast")).eval()(make_clip())
    logits = randomised(make_model("ExoSlowFast", TEST__NO_ACT=True)).eval()(make_clip())
    for a, b in zip(scores, logits, strict=True):
        assert torch.equal(a, b.sigmoid())


@pytest.mark.parametrize("options", [{"HEAD_ACT": "sigmoid"}, {"LOSS_FUNC": "bce_logit"}], ids=str)
def test_sigmoid_scores(make_model, make_clip, randomised, options):
    """With HEAD_ACT sigmoid, and always for multi-label heads."""
    options = {f"MODEL__{key}": value for key, value in options.items()}
    model = randomised(make_model("MultiTaskSlowFast", **options)).eval()
    logits = randomised(make_model("MultiTaskSlowFast", TEST__NO_ACT=True)).eval()(make_clip())
    for a, b in zip(model(make_clip()), logits, strict=True):
        assert torch.equal(a, b.sigmoid())


def test_window_pooling_is_laid_out_for_the_crop_size(make_model, make_clip, randomised):
    options = {"MODEL__HEAD_POOL": "window", "DATA__CROP_SIZE": 64}
    model = randomised(make_model("MultiTaskSlowFast", **options)).eval()
    assert model.windows(make_clip(size=64)).shape[1] == 1
    assert model.windows(make_clip(size=96)).shape[1] == 4
    assert model.windows(make_clip(size=128)).shape[1] == 9


def test_a_pooling_window_covers_the_crop_whatever_the_stride(make_model, make_clip):
    options = {"MODEL__HEAD_POOL": "window", "DATA__CROP_SIZE": 64}
    strides = [[1, 1], [2, 2], [2, 2], [1, 1]]
    model = make_model("MultiTaskSlowFast", **options, RESNET__SPATIAL_STRIDES=strides).eval()
    assert model.windows(make_clip(size=64)).shape[1] == 1
    assert model.windows(make_clip(size=96)).shape[1] == 9


class TwoStages(Backbone):
    out_channels = (2,)

    def __init__(self):
        super().__init__()
        self.s1, self.s2, self.s2_fuse = nn.Conv3d(3, 2, 1), nn.ReLU(), nn.ReLU()


def test_stages_that_a_backbone_lacks_are_refused(make_cfg, monkeypatch):
    TwoStages().freeze_stages(2)
    with pytest.raises(UserError, match=r"FREEZE_STAGES is 3, but TwoStages has the stages s1"):
        TwoStages().freeze_stages(3)
    entries = {name: MODEL_REGISTRY.get(name) for name in NAMES}
    monkeypatch.setattr(MODEL_REGISTRY, "_entries", entries)

    @register_model(views=("ego",), heads=single_head)
    def ToyModel(cfg):
        return TwoStages()

    build_model(make_cfg("ToyModel", MODEL__RECOMPUTE_STAGES=["s1", "s2_fuse"]))
    with pytest.raises(UserError, match=r"names s5, but the model has the stages s1, s2, s2_fuse;"):
        build_model(make_cfg("ToyModel", MODEL__RECOMPUTE_STAGES=["s2", "s5"]))


def test_an_unknown_model_names_the_known_ones(make_cfg):
    with pytest.raises(UserError) as error:
        build_model(make_cfg("SlowFastest"))
    message = str(error.value)
    assert "MODEL.MODEL_NAME" in message
    assert "SlowFastest" in message
    assert all(name in message for name in NAMES)
    assert "\n" not in message


def test_a_model_of_ones_own_is_found_by_its_name(make_cfg, monkeypatch):
    def ToyModel(cfg):
        return nn.Linear(cfg.MODEL.NUM_CLASSES, 1)

    monkeypatch.setattr(
        MODEL_REGISTRY, "_entries", {name: MODEL_REGISTRY.get(name) for name in NAMES}
    )
    register_model(views=("ego",), heads=single_head)(ToyModel)
    assert build_model(make_cfg("ToyModel")).in_features == 6
    assert build_test_model(make_cfg("ToyModel")).in_features == 6


def test_the_test_model_of_the_dual_model_is_its_ego_half(make_cfg):
    model = build_test_model(make_cfg("EgoExoSlowFast"))
    assert isinstance(model, Recognizer)
    assert [layer.out_features for layer in model.head.projections] == [5, 7]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights(make_model, name):
    first, second = make_model(name).state_dict(), make_model(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_ego_half_starts_like_the_ego_recogniser(make_model):
    """Runs with and without the exo half start from the same weights."""
    dual, ego = make_model("EgoExoSlowFast").ego, make_model("MultiTaskSlowFast")
    for key, value in ego.state_dict().items():
        assert torch.equal(dual.state_dict()[key], value), key


def test_initial_weights(make_model):
    model = make_model("EgoExoSlowFast", RESNET__WIDTH_PER_GROUP=16, MODEL__FC_INIT_STD=0.05)
    conv = model.exo.backbone.s5.pathway0_res1.branch2.b
    fan_out = conv.out_channels * 9
    # 147,456 normal numbers: the standard deviation is off by 0.2 % at one sigma.
    assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert len(linears) == 6
    for linear in linears:
        assert linear.weight.std().item() == pytest.approx(0.05, rel=0.1)
        assert not linear.bias.any()


@pytest.mark.parametrize("name", NAMES)
def test_freeze_stages_is_of_the_ego_half(make_model, name):
    model = make_model(name, MODEL__FREEZE_STAGES=2)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    prefix = "ego.backbone." if name == "EgoExoSlowFast" else "backbone."
    assert frozen
    stages = {n.removeprefix(prefix).split(".")[0] for n in frozen}
    assert all(n.startswith(prefix) for n in frozen)
    assert stages == {"s1", "s1_fuse", "s2", "s2_fuse"}


def test_the_exo_half_of_a_dual_model_can_be_frozen(make_model):
    model = make_model("EgoExoSlowFast", EXO__FREEZE_STAGES=5)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {f"exo.backbone.{name}" for name, _ in model.exo.backbone.named_parameters()}
    norms = [m for m in model.train().exo.backbone.modules() if isinstance(m, nn.BatchNorm3d)]
    assert norms
    assert not any(norm.training for norm in norms)
    with pytest.raises(UserError, match=r"EXO\.FREEZE_STAGES is 6, but SlowFastBackbone has"):
        make_model("EgoExoSlowFast", EXO__FREEZE_STAGES=6)


def test_dual_model_without_suml_is_for_tests(make_cfg, make_clip):
    cfg = make_cfg("EgoExoSlowFast", SUML__ENABLE=False)
    model = build_model(cfg).eval()
    assert isinstance(model, EgoExoModel)
    assert len(model(make_clip())) == 2


@pytest.mark.parametrize("name", NAMES)
def test_r101_builds_without_memory(name):
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME = name
    cfg.RESNET.DEPTH = 101
    cfg.RESNET.NUM_BLOCK_TEMP_KERNEL = [[3, 3], [4, 4], [23, 23], [3, 3]]
    with torch.device("meta"):
        model = build_model(cfg).eval()
        fast = torch.empty(1, 3, 32, 256, 256)
        scores = model([fast[:, :, ::4], fast])
    assert scores[0].shape[0] == 1


def test_frozen_config_is_left_as_it_is(make_cfg):
    cfg = make_cfg("EgoExoSlowFast")
    cfg.freeze()
    before = cfg.dump()
    build_model(cfg)
    build_test_model(cfg)
    assert cfg.dump() == before
    assert cfg.is_frozen()
