"""All terms in one step: a second exo clip, and the batch in parts."""

import pytest
import torch

from slowfast.models.ego_exo import FACTORS
from slowfast.tasks.build import build_training
from tests.engine.tiny_updates import assert_same_gradients, gradients, make_update, update_cfg
from tests.tasks.terms.tiny_pairs import FACTORISED, batch, three_clips
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg


@pytest.mark.parametrize("suml", [{"EXO_STREAM": True}, FACTORISED], ids=str)
def test_a_step_trains_every_parameter(suml):
    """And the exo half sees both clips as one batch."""
    (model, task), pairs = build_training(tiny_cfg(**suml)), paired_batch(0)
    pairs.other_exo = paired_batch(1).exo
    for clips in (pairs.exo, pairs.other_exo):
        clips.shares_label = torch.ones(len(clips.indices), dtype=torch.bool)
    seen = []
    model.exo.backbone.register_forward_pre_hook(lambda _, args: seen.append(len(args[0][0])))
    task.step(model.train(), pairs, 0, 0).total.backward()
    assert seen == [2 * len(pairs.ego.indices)]
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    factors = {name.split(".")[0] for name, _ in model.named_parameters()} & set(FACTORS)
    assert factors == (set(FACTORS) if suml == FACTORISED else set())


@pytest.mark.parametrize(
    "suml",
    [
        {"SUML__NEGATIVES": "drop_same_label"},
        {"SUML__NEGATIVES": "drop_same_text", "SUML__TEXT_NEGATIVES": "video"},
        {"SUML__NEGATIVES": "multi_positive", "SUML__ALIGN__KIND": "dcl_weighted"},
        {"SUML__ALIGN__KIND": "soft"},
        {"SUML__ALIGN__KIND": "soft", "SUML__ALIGN__RELEVANCE": "label"},
        {"SUML__EXO_STREAM": True, "SUML__NEGATIVES": "drop_same_label"},
        {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"},
    ],
    ids=str,
)
def test_a_cached_step_in_parts_is_that_of_the_whole_batch(suml):
    with_second_clip = "SUML__EXO_STREAM" in suml or "SUML__PAIRS__MINING" in suml
    pairs = three_clips() if with_second_clip else batch()
    for clips in pairs.clips():
        clips.text = clips.text.double()
    whole = make_update(update_cfg(**suml))
    parts = make_update(update_cfg(SOLVER__ACCUMULATE=3, SUML__GRAD_CACHE=True, **suml))
    expected, found = whole(pairs, 0, 0).output, parts(pairs, 0, 0).output
    for name, loss in expected.losses.items():
        assert found.losses[name].item() == pytest.approx(loss.item(), rel=1e-6)
    # Sums in another order in float64, through a few layers.
    assert_same_gradients(gradients(parts), gradients(whole), 1e-8)
