"""SUM-L's step: its terms, the parts they use, and no cost for a term that is off."""

import copy

import pytest
import torch

from slowfast.config import get_cfg
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.tasks.build import build_training

ALL_TERMS = {"ego_verb", "ego_noun", "exo_verb", "exo_noun", "align", "ego_text", "exo_text"}


def tiny_cfg(**suml):
    """The smallest dual model; `suml` holds keys below SUML, with __ for the dots."""
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME = "EgoExoSlowFast"
    cfg.MODEL.NUM_CLASSES_LIST = [5, 7]
    cfg.EXO.NUM_CLASSES_LIST = [4, 6]
    cfg.SUML.ENABLE = True
    cfg.SUML.EMBED_DIM = 8
    cfg.RESNET.WIDTH_PER_GROUP = 4
    cfg.SLOWFAST.BETA_INV = 2
    cfg.merge_from_list([x for k, v in suml.items() for x in ("SUML." + k.replace("__", "."), v)])
    return cfg


def paired_batch(seed: int, pairs: int = 4) -> PairedBatch:
    draw = torch.Generator().manual_seed(seed)

    def clips(labels: list[torch.Tensor]) -> ClipBatch:
        frames = torch.randint(0, 256, (pairs, 8, 32, 32, 3), generator=draw, dtype=torch.uint8)
        text = torch.nn.functional.normalize(torch.rand(pairs, 8, generator=draw), dim=1)
        return ClipBatch(frames, labels, torch.arange(pairs), text)

    ego = clips([torch.randint(0, k, (pairs,), generator=draw) for k in (5, 7)])
    exo = clips([torch.randint(0, 2, (pairs, k), generator=draw).float() for k in (4, 6)])
    return PairedBatch(ego, exo)


def train_steps(cfg, steps: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    model, task = build_training(cfg)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.9)
    model.train()
    for iteration in range(steps):
        output = task.step(model, paired_batch(iteration), epoch=0, iteration=iteration)
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
    return model


def ego_weights(model) -> dict[str, torch.Tensor]:
    parts = ("ego.", "ego_projection.")
    return {name: w for name, w in model.state_dict().items() if name.startswith(parts)}


def differing(left, right) -> list[str]:
    a, b = ego_weights(left), ego_weights(right)
    return [name for name in a if not torch.equal(a[name], b[name])]


NO_EXO = {"WEIGHTS__EXO_CLS": 0.0, "WEIGHTS__EXO_TEXT": 0.0}


def test_without_alignment_the_exo_half_changes_no_ego_weight():
    with_exo = train_steps(tiny_cfg(ALIGN__KIND="none"))
    without_exo = train_steps(tiny_cfg(ALIGN__KIND="none", **NO_EXO))
    assert not without_exo.uses_exo
    assert differing(with_exo, without_exo) == []


@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted", "triplet", "soft"])
def test_alignment_changes_the_ego_weights(kind):
    aligned = train_steps(tiny_cfg(ALIGN__KIND=kind, WEIGHTS__ALIGN=1.0))
    assert differing(aligned, train_steps(tiny_cfg(ALIGN__KIND="none")))


def test_every_term_is_reported_and_weighted():
    cfg = tiny_cfg()
    (model, task), batch = build_training(cfg), paired_batch(0)
    output = task.step(model.train(), batch, 0, 0)
    assert set(output.losses) == ALL_TERMS
    loss, weight = output.losses, cfg.SUML.WEIGHTS
    expected = (
        loss["ego_verb"]
        + loss["ego_noun"]
        + weight.EXO_CLS * (loss["exo_verb"] + loss["exo_noun"])
        + weight.ALIGN * loss["align"]
        + weight.EGO_TEXT * loss["ego_text"]
        + weight.EXO_TEXT * loss["exo_text"]
    )
    torch.testing.assert_close(output.total, expected)
    output.total.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("key", "terms"),
    [
        ("WEIGHTS__EXO_CLS", {"exo_verb", "exo_noun"}),
        ("WEIGHTS__ALIGN", {"align"}),
        ("WEIGHTS__EGO_TEXT", {"ego_text"}),
        ("WEIGHTS__EXO_TEXT", {"exo_text"}),
    ],
)
def test_a_weight_of_zero_removes_its_term(key, terms):
    cfg = tiny_cfg(**{key: 0.0})
    model, task = build_training(cfg)
    output = task.step(model.train(), paired_batch(0), 0, 0)
    assert set(output.losses) == ALL_TERMS - terms
    output.total.backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in model.named_parameters() if p.grad is not None}


def test_an_exo_half_without_a_loss_is_not_run():
    cfg = tiny_cfg(ALIGN__KIND="none", **NO_EXO)
    model, task = build_training(cfg)

    def fail(*_):
        raise AssertionError("the exo backbone was run")

    model.exo.backbone.register_forward_pre_hook(fail)
    task.step(model.train(), paired_batch(0), 0, 0)


def test_no_pair_above_the_threshold_is_a_step_without_alignment():
    cfg = tiny_cfg(ALIGN__THRESHOLD=2.0)
    model, task = build_training(cfg)
    output = task.step(model.train(), paired_batch(0), 0, 0)
    assert output.losses["align"] == 0
    assert output.counts["align_empty"] == 1
    assert output.counts["pairs_kept"] == 0
    output.total.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_one_pair_trains():
    cfg = tiny_cfg()
    model, task = build_training(cfg)
    output = task.step(model.train(), paired_batch(0, pairs=1), 0, 0)
    output.total.backward()
    assert torch.isfinite(output.total)
    assert all(output.losses[name] == 0 for name in ("align", "ego_text", "exo_text"))
    assert output.counts["text_empty"] == output.counts["align_empty"] == 1


def test_a_step_depends_on_its_number_alone():
    cfg = tiny_cfg()
    (model, task), batch = build_training(cfg), paired_batch(0)
    model.train()
    first = task.step(copy.deepcopy(model), batch, 2, 5)
    torch.rand(3)
    again = task.step(copy.deepcopy(model), batch, 2, 5)
    other = task.step(copy.deepcopy(model), batch, 2, 6)
    assert torch.equal(first.total, again.total)
    assert not torch.equal(first.losses["ego_verb"], other.losses["ego_verb"])


def test_an_exo_half_that_is_not_run_keeps_its_statistics():
    cfg = tiny_cfg(ALIGN__KIND="none", **NO_EXO)
    model = build_training(cfg)[0].train()
    assert not model.exo.training
    assert model.ego.training
