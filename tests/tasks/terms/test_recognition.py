"""L_f and L_t: names of heads, kinds of labels, further exo clips, sets without labels."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from slowfast.tasks.build import build_training
from tests.tasks.terms.tiny_pairs import output_of_three, step_of_three, three_clips
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg


def test_the_exo_term_is_over_all_exo_clips():
    made, clips = output_of_three(), three_clips()
    found = step_of_three(made, EXO_STREAM=True).losses
    for name, task in (("exo_verb", 0), ("exo_noun", 1)):
        logits = torch.cat([made.exo_logits[task], made.other_logits[task]])
        labels = torch.cat([clips.exo.labels[task], clips.other_exo.labels[task]])
        wanted = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        assert found[name].item() == pytest.approx(wanted.item(), rel=1e-10)


def test_heads_of_other_names_and_numbers():
    cfg = tiny_cfg()
    cfg.MODEL.HEAD_NAMES, cfg.MODEL.NUM_CLASSES_LIST = ["action"], [9]
    cfg.EXO.HEAD_NAMES, cfg.EXO.NUM_CLASSES_LIST = ["scene", "verb", "tool"], [3, 4, 5]
    batch = paired_batch(0)
    batch.ego.labels = [torch.tensor([8, 0, 2, 2])]
    batch.exo.labels = [torch.eye(4, k) for k in (3, 4, 5)]
    model, task = build_training(cfg)
    output = task.forward(model.train(), batch)
    found = task.losses(output, batch, 0, 0)
    assert list(found.losses)[:4] == ["ego_action", "exo_scene", "exo_verb", "exo_tool"]
    wanted = cross_entropy(output.ego_logits[0], batch.ego.labels[0])
    assert found.losses["ego_action"].item() == pytest.approx(wanted.item(), rel=1e-6)
    assert [x.shape for x in found.logits] == [(4, 9)]


def test_an_ego_set_with_several_labels_a_clip():
    cfg = tiny_cfg(QUEUE__SIZE=4, NEGATIVES="drop_same_label", ALIGN__THRESHOLD=-1.0)
    cfg.MODEL.LOSS_FUNC = "bce_logit"
    cfg.MODEL.HEAD_NAMES, cfg.MODEL.NUM_CLASSES_LIST = ["action", "scene"], [6, 5]
    model, task = build_training(cfg)
    model.train()
    for iteration in range(2):
        batch = paired_batch(iteration)
        batch.ego.labels = [torch.eye(4, k) for k in (6, 5)]
        output = task.forward(model, batch)
        found = task.losses(output, batch, 0, iteration)
        task.finish_step(model, torch.tensor(True))
        logits = output.ego_logits[1]
        wanted = binary_cross_entropy_with_logits(logits, batch.ego.labels[1])
        assert found.losses["ego_scene"].item() == pytest.approx(wanted.item(), rel=1e-6)
        assert torch.isfinite(found.total)
    assert task.state_dict()["queue"]["rows"]["labels"].shape == (4, 11)


def test_an_exo_set_with_narrations_alone():
    """It trains all terms except L_t."""
    cfg = tiny_cfg(WEIGHTS__EXO_CLS=0.0, NEGATIVES="drop_same_text", EXO_STREAM=True)
    cfg.EXO.HEAD_NAMES, cfg.EXO.NUM_CLASSES_LIST = [], []
    model, task = build_training(cfg)
    batch = paired_batch(0)
    batch.other_exo = paired_batch(1).exo
    batch.exo.labels, batch.other_exo.labels = [], []
    found = task.step(model.train(), batch, 0, 0)
    assert set(found.losses) == {"ego_verb", "ego_noun", "ego_text", "exo_text", "align"}
    found.total.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
