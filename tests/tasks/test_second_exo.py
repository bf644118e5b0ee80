"""A second exo clip for every ego clip: SUML.EXO_STREAM and SUML.ALIGN.KIND factorised."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from slowfast.models.build import build_model
from slowfast.models.ego_exo import FACTORS, EgoExoOutput
from slowfast.tasks.build import build_task
from tests.engine.tiny_updates import assert_same_gradients, gradients, make_update, update_cfg
from tests.losses.naive import naive_alignment, naive_dcl, unit_rows
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg
from tests.tasks.test_suml_negatives import (
    EXO_NOUNS,
    EXO_VERBS,
    NOUNS,
    PAIRS,
    TAU,
    VERBS,
    batch,
    rows,
    same_ego_label,
    same_text_of_either,
)

NEGATIVES = ("all", "drop_same_label", "drop_same_text", "multi_positive")
OTHER_VERBS = [{0}, {2}, {3}, {1, 2}, {0, 1}, set()]
OTHER_NOUNS = [{0, 1}, {1}, {2}, {3}, {5}, {0}]
HAS_VERB, HAS_NOUN = [1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 1]
FACTORISED = {"ALIGN__KIND": "factorised", "PAIRS__MINING": "factors"}


def three_clips():
    """`batch` and further exo clips, one with the narration of an ego clip."""
    pairs = batch()
    pairs.other_exo = batch().exo
    pairs.other_exo.labels = [rows(OTHER_VERBS, 4), rows(OTHER_NOUNS, 6)]
    pairs.other_exo.text = torch.nn.functional.normalize(unit_rows(9, PAIRS).detach() + 0.4, dim=1)
    pairs.other_exo.text[4] = pairs.ego.text[2]
    pairs.exo.shares_label = torch.tensor(HAS_VERB, dtype=torch.bool)
    pairs.other_exo.shares_label = torch.tensor(HAS_NOUN, dtype=torch.bool)
    return pairs


def output(**parts):
    logits = [[unit_rows(seed + k, PAIRS, k).detach() for k in (4, 6)] for seed in (20, 40)]
    ego = [torch.zeros(PAIRS, k) for k in (5, 7)]
    z = [unit_rows(seed, PAIRS) for seed in (1, 2, 3)]
    return EgoExoOutput(ego, logits[0], *z[:2], other_logits=logits[1], z_other=z[2], **parts)


def step(made, **suml):
    task = build_task(tiny_cfg(**({"ALIGN__THRESHOLD": 0.0} | suml)))
    return task.losses(made, three_clips(), 0, 0)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_exo_terms_are_over_all_exo_clips(negatives):
    made, clips = output(), three_clips()
    found = step(made, EXO_STREAM=True, NEGATIVES=negatives).losses
    for name, task in (("exo_verb", 0), ("exo_noun", 1)):
        logits = torch.cat([made.exo_logits[task], made.other_logits[task]])
        labels = torch.cat([clips.exo.labels[task], clips.other_exo.labels[task]])
        wanted = binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        assert found[name].item() == pytest.approx(wanted.item(), rel=1e-10)
    z = torch.cat([made.z_exo, made.z_other])
    d = torch.cat([clips.exo.text, clips.other_exo.text])
    verbs, nouns = EXO_VERBS + OTHER_VERBS, EXO_NOUNS + OTHER_NOUNS

    def related(i, j):
        if negatives == "all":
            return False
        if negatives == "drop_same_text":
            return float(d[i] @ d[j]) > 1 - 1e-6
        return bool(verbs[i] & verbs[j]) and bool(nouns[i] & nouns[j])

    join = negatives == "multi_positive"
    wanted = naive_dcl(z, d, TAU, None, related, join) + naive_dcl(d, z, TAU, None, related, join)
    assert found["exo_text"].item() == pytest.approx(wanted.item(), rel=1e-10)


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_independent_clips_are_negatives_of_the_pairs(negatives):
    made, clips = output(), three_clips()
    found = step(made, EXO_STREAM=True, NEGATIVES=negatives)
    kept = [i for i in range(PAIRS) if float(clips.ego.text[i] @ clips.exo.text[i]) > 0]
    assert len(kept) > 2

    def further(i):
        for j in range(PAIRS):
            texts = (clips.ego.text[kept[i]], clips.exo.text[kept[i]])
            same_text = any(float(d @ clips.other_exo.text[j]) > 1 - 1e-6 for d in texts)
            verbs, nouns = EXO_VERBS[kept[i]], EXO_NOUNS[kept[i]]
            same_label = bool(verbs & OTHER_VERBS[j]) and bool(nouns & OTHER_NOUNS[j])
            if not {"all": False, "drop_same_text": same_text}.get(negatives, same_label):
                yield made.z_other[j]

    def related(i, j):
        relation = {"all": lambda *_: False, "drop_same_text": same_text_of_either}
        return relation.get(negatives, same_ego_label)(kept[i], kept[j])

    u, v, join = made.z_ego[kept], made.z_exo[kept], negatives == "multi_positive"
    wanted = naive_dcl(u, v, TAU, None, related, join, extra=further)
    wanted = wanted + naive_dcl(v, u, TAU, None, related, join, extra=further)
    assert found.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found.counts["align_empty"] == 0
    # They are trained by it, too.
    (gradient,) = torch.autograd.grad(found.losses["align"], made.z_other)
    assert gradient.any(1).all() or negatives != "all"


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_factorised_alignment_equals_the_double_loops(negatives):
    factors = [unit_rows(seed, PAIRS) for seed in (5, 6, 7, 8)]
    clips = three_clips()
    found = step(output(factors=factors), NEGATIVES=negatives, **FACTORISED)
    wanted = 0
    for z_ego, z_exo, exo, kept, labels in (
        (factors[0], factors[2], clips.exo, HAS_VERB, VERBS),
        (factors[1], factors[3], clips.other_exo, HAS_NOUN, NOUNS),
    ):

        def related(i, j, labels=labels, exo=exo):
            if negatives == "all":
                return False
            if negatives == "drop_same_text":
                return any(float(d[i] @ d[j]) > 1 - 1e-6 for d in (clips.ego.text, exo.text))
            return labels[i] == labels[j] >= 0

        # Of "narrations" that are equal where the partner has the label, and opposite elsewhere.
        first = torch.eye(1, 8, dtype=torch.float64).repeat(PAIRS, 1)
        second = first * (2 * torch.tensor(kept, dtype=torch.float64)[:, None] - 1)
        join = negatives == "multi_positive"
        wanted = wanted + 0.5 * naive_alignment(
            z_ego, z_exo, first, second, TAU, 0.0, None, related, join
        )
    assert found.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found.counts["pairs_kept"] == pytest.approx(sum(HAS_VERB + HAS_NOUN) / (2 * PAIRS))


def test_the_settings_are_different_losses():
    factors = [unit_rows(seed, PAIRS) for seed in (5, 6, 7, 8)]
    for suml in ({"EXO_STREAM": True}, FACTORISED):
        losses = {
            step(output(factors=factors), NEGATIVES=n, **suml).losses["align"] for n in NEGATIVES
        }
        assert len({loss.item() for loss in losses}) == len(NEGATIVES)


@pytest.mark.parametrize("suml", [{"EXO_STREAM": True}, FACTORISED], ids=str)
def test_a_step_trains_every_parameter(suml):
    """And the exo half sees both clips as one batch."""
    model, pairs = build_model(tiny_cfg(**suml)).train(), paired_batch(0)
    pairs.other_exo = paired_batch(1).exo
    for clips in (pairs.exo, pairs.other_exo):
        clips.shares_label = torch.ones(len(clips.indices), dtype=torch.bool)
    seen = []
    model.exo.backbone.register_forward_pre_hook(lambda _, args: seen.append(len(args[0][0])))
    build_task(tiny_cfg(**suml)).step(model, pairs, 0, 0).total.backward()
    assert seen == [2 * len(pairs.ego.indices)]
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    factors = {name.split(".")[0] for name, _ in model.named_parameters()} & set(FACTORS)
    assert factors == (set(FACTORS) if suml == FACTORISED else set())


def test_without_text_terms_the_factors_are_the_only_projections():
    no_text = {"WEIGHTS__EGO_TEXT": 0.0, "WEIGHTS__EXO_TEXT": 0.0}
    model = build_model(tiny_cfg(**FACTORISED, **no_text))
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"ego", "exo", *FACTORS}


@pytest.mark.parametrize(
    "suml",
    [
        {"SUML__EXO_STREAM": True, "SUML__NEGATIVES": "drop_same_label"},
        {"SUML__ALIGN__KIND": "factorised", "SUML__PAIRS__MINING": "factors"},
    ],
    ids=str,
)
def test_a_cached_step_in_parts_is_that_of_the_whole_batch(suml):
    pairs = three_clips()
    for clips in pairs.clips():
        clips.text = clips.text.double()
    whole = make_update(update_cfg(**suml))
    parts = make_update(update_cfg(SOLVER__ACCUMULATE=3, SUML__GRAD_CACHE=True, **suml))
    expected, found = whole(pairs, 0, 0).output, parts(pairs, 0, 0).output
    for name, loss in expected.losses.items():
        assert found.losses[name].item() == pytest.approx(loss.item(), rel=1e-6)
    # Sums in another order in float64, through a few layers.
    assert_same_gradients(gradients(parts), gradients(whole), 1e-8)
