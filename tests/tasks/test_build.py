"""The model and task that a config trains, and the parts of the model that its losses use."""

import pytest
import torch
from torch import nn

from slowfast.config.heads import ego_heads, exo_heads
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.update import Update
from slowfast.models import MODEL_REGISTRY, build_model, register_model
from slowfast.models.backbone import Backbone
from slowfast.models.build import build_recognizer
from slowfast.models.parts import Part
from slowfast.models.zoo.ego_exo_slowfast import dual_model
from slowfast.models.zoo.slowfast import head_layers
from slowfast.tasks.build import build_training
from slowfast.tasks.recognition import RecognitionTask
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg

NO_EXO = {"WEIGHTS__EXO_CLS": 0.0, "WEIGHTS__EXO_TEXT": 0.0}
NO_TEXT = {"WEIGHTS__EGO_TEXT": 0.0, "WEIGHTS__EXO_TEXT": 0.0}
NO_ALIGN = {"ALIGN__KIND": "none"}
FACTORISED = {"ALIGN__KIND": "factorised", "PAIRS__MINING": "factors"}


class ToyBackbone(Backbone):
    """One convolution per pathway."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels = (4, 2)
        self.s1 = nn.ModuleList(nn.Conv3d(3, c, 8, 8, padding=4) for c in self.out_channels)

    def forward(self, clip: list[torch.Tensor]) -> list[torch.Tensor]:
        return [conv(x) for conv, x in zip(self.s1, clip, strict=True)]


def toy_recognizer(cfg, counts, name, activation):
    return build_recognizer(cfg, ToyBackbone(), counts, head_layers(name, len(counts)), activation)


@pytest.fixture
def own_models(monkeypatch):
    """Registered under their own names for one test."""
    entries = {name: MODEL_REGISTRY.get(name) for name in MODEL_REGISTRY}
    monkeypatch.setattr(MODEL_REGISTRY, "_entries", entries)

    @register_model(views=("ego", "exo"), heads=ego_heads)
    def ToyDual(cfg):
        ego = toy_recognizer(cfg, cfg.MODEL.NUM_CLASSES_LIST, "head", cfg.MODEL.HEAD_ACT)
        exo = toy_recognizer(cfg, cfg.EXO.NUM_CLASSES_LIST, "head_lemma", "sigmoid")
        return dual_model(cfg, ego, exo)

    @register_model(views=("exo",), heads=exo_heads)
    def ToyExo(cfg):
        return toy_recognizer(cfg, cfg.EXO.NUM_CLASSES_LIST, "readout", "sigmoid")

    @register_model(views=("ego", "exo"), heads=ego_heads)
    def NoDual(cfg):
        return nn.Linear(2, 2)


@pytest.mark.parametrize("suml", [{}, {"QUEUE__SIZE": 6}, {"ALIGN__KIND": "soft"}], ids=str)
def test_a_dual_model_of_ones_own_trains_with_suml(own_models, suml):
    cfg = tiny_cfg(**suml)
    cfg.MODEL.MODEL_NAME = "ToyDual"
    torch.manual_seed(0)
    model, task = build_training(cfg)
    model.train()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    output = Update(model, model, task, build_optimizer(model, cfg))(paired_batch(0), 0, 0).output
    assert {"ego_verb", "exo_noun", "ego_text", "exo_text", "align"} <= set(output.losses)
    unchanged = [n for n, weight in model.named_parameters() if torch.equal(weight, before[n])]
    assert unchanged == []
    assert [x.shape[1] for x in task.evaluate(model.eval(), paired_batch(0).ego)] == [5, 7]


def test_a_model_of_two_views_that_is_no_dual_model_is_refused(own_models):
    cfg = tiny_cfg()
    cfg.MODEL.MODEL_NAME = "NoDual"
    with pytest.raises(UserError, match=r"MODEL.MODEL_NAME NoDual .* a Linear; return an Ego"):
        build_training(cfg)


@pytest.mark.parametrize(
    ("name", "stream", "order"),
    [
        ("MultiTaskSlowFast", Stream.EGO_DROPOUT, "bgr"),
        ("ExoSlowFast", Stream.EXO_DROPOUT, "rgb"),
        ("ToyExo", Stream.EXO_DROPOUT, "rgb"),
    ],
)
def test_a_model_of_one_view_takes_the_clips_of_its_view(own_models, name, stream, order):
    cfg = tiny_cfg()
    cfg.MODEL.MODEL_NAME = name
    cfg.DATA.CHANNEL_ORDER, cfg.EXO.CHANNEL_ORDER = "bgr", "rgb"
    model, task = build_training(cfg)
    assert isinstance(task, RecognitionTask)
    assert task._stream == stream
    clips = paired_batch(0).exo if stream == Stream.EXO_DROPOUT else paired_batch(0).ego
    # A channel that is 255 alone shows the order of the channels, which are BGR in a batch.
    clips.frames[..., 1:], clips.frames[..., 0] = 0, 255
    brightest = task._transform.clips(clips)[1].mean((0, 2, 3, 4)).argmax()
    assert "bgr"[brightest] == ("b" if order == "bgr" else "r")
    losses = task.step(model.train(), clips, 0, 0).losses
    assert list(losses) == ["verb", "noun"]


@pytest.mark.parametrize(
    ("suml", "used"),
    [
        ({}, {Part.EGO_PROJECTION, Part.EXO_PROJECTION, Part.EXO_HEADS}),
        ({"WEIGHTS__EXO_CLS": 0.0}, {Part.EGO_PROJECTION, Part.EXO_PROJECTION}),
        (NO_TEXT, {Part.EGO_PROJECTION, Part.EXO_PROJECTION, Part.EXO_HEADS}),
        ({**NO_TEXT, **NO_ALIGN}, {Part.EXO_HEADS}),
        ({**NO_TEXT, "WEIGHTS__ALIGN": 0.0}, {Part.EXO_HEADS}),
        ({**NO_ALIGN, "WEIGHTS__EXO_TEXT": 0.0}, {Part.EGO_PROJECTION, Part.EXO_HEADS}),
        ({**NO_ALIGN, "WEIGHTS__EGO_TEXT": 0.0}, {Part.EXO_PROJECTION, Part.EXO_HEADS}),
        ({**NO_ALIGN, **NO_EXO}, {Part.EGO_PROJECTION}),
        (NO_EXO, {Part.EGO_PROJECTION, Part.EXO_PROJECTION}),
        (FACTORISED, set(Part)),
        ({**FACTORISED, **NO_TEXT}, {Part.FACTOR_PROJECTIONS, Part.EXO_HEADS}),
    ],
)
def test_the_losses_decide_which_parts_are_used(suml, used):
    model, _ = build_training(tiny_cfg(**suml))
    assert model._used == used
    assert build_model(tiny_cfg(**suml))._used >= used


def test_the_model_is_that_of_build_model():
    torch.manual_seed(0)
    model, _ = build_training(tiny_cfg(**NO_EXO))
    torch.manual_seed(0)
    alone = build_model(tiny_cfg(**NO_EXO))
    assert all(p.requires_grad for p in alone.parameters())
    for name, weight in alone.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name
