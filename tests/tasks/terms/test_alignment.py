"""L_a against double loops: kinds, SUML.NEGATIVES, ALIGN.RELEVANCE, independent exo clips."""

import pytest
import torch

from slowfast.tasks.build import build_training
from tests.losses.naive import naive_alignment, naive_dcl, naive_soft_alignment, unit_rows
from tests.tasks.terms.tiny_pairs import (
    EXO_NOUNS,
    EXO_VERBS,
    NEGATIVES,
    NOUNS,
    OTHER_NOUNS,
    OTHER_VERBS,
    PAIRS,
    RELATIONS,
    SIGMA,
    TAU,
    VERBS,
    batch,
    output,
    output_of_three,
    rows,
    same_ego_label,
    same_text_of_either,
    step,
    step_of_three,
    three_clips,
)
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted"])
def test_dcl_equals_the_double_loops(negatives, kind):
    z_ego, z_exo = unit_rows(1, PAIRS), unit_rows(2, PAIRS)
    found = step(output(z_ego, z_exo), NEGATIVES=negatives, ALIGN__KIND=kind)
    d_ego, d_exo = batch().ego.text, batch().exo.text
    sigma = SIGMA if kind == "dcl_weighted" else None
    related, join = RELATIONS[negatives][2], negatives == "multi_positive"
    wanted = naive_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.0, sigma, related, join)
    assert found.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found.counts["align_empty"] == 0
    similarity = (d_ego * d_exo).sum(1)
    assert found.counts["pairs_kept"] == pytest.approx(float((similarity > 0).float().mean()))
    assert found.counts["pair_similarity"].item() == pytest.approx(similarity.mean().item())


def test_the_settings_are_different_losses():
    assert len({step(NEGATIVES=name).losses["align"].item() for name in NEGATIVES}) == 4
    three = [step_of_three(output_of_three(), EXO_STREAM=True, NEGATIVES=n) for n in NEGATIVES]
    assert len({made.losses["align"].item() for made in three}) == len(NEGATIVES)


def label_relevance(i, j):
    return 1.0 if i == j else 0.5 * (VERBS[i] == VERBS[j] >= 0) + 0.5 * (NOUNS[i] == NOUNS[j] >= 0)


def text_relevance(i, j):
    pairs = batch()
    return float(torch.dot(pairs.ego.text[i], pairs.exo.text[j]))


@pytest.mark.parametrize(
    ("key", "relevance"), [("text", text_relevance), ("label", label_relevance)]
)
def test_soft_equals_the_double_loop(key, relevance):
    z_ego, z_exo = unit_rows(1, PAIRS), unit_rows(2, PAIRS)
    found = step(output(z_ego, z_exo), ALIGN__KIND="soft", ALIGN__RELEVANCE=key)
    wanted = naive_soft_alignment(z_ego, z_exo, relevance, TAU, SIGMA)
    assert found.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert found.counts["align_empty"] == 0


def test_soft_needs_no_pair_above_the_threshold():
    assert step(ALIGN__KIND="soft", ALIGN__THRESHOLD=2.0).losses["align"] != 0


def test_triplet_takes_other_negatives_in_every_step():
    _, task = build_training(tiny_cfg(ALIGN__KIND="triplet"))
    made = output(unit_rows(1, PAIRS), unit_rows(2, PAIRS))
    found = {
        task.losses(made, batch(), epoch, iteration).losses["align"].item()
        for epoch in range(2)
        for iteration in range(3)
    }
    assert len(found) > 3
    assert task.losses(made, batch(), 1, 2).losses["align"].item() in found
    assert "align_empty" not in task.losses(made, batch(), 0, 0).counts


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_independent_clips_are_negatives_of_the_pairs(negatives):
    made, clips = output_of_three(), three_clips()
    found = step_of_three(made, EXO_STREAM=True, NEGATIVES=negatives)
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


def test_anchors_without_negatives_are_counted():
    """Two of three clips are of one class, then all are."""
    _, task = build_training(tiny_cfg(ALIGN__THRESHOLD=-1.0, NEGATIVES="drop_same_label"))
    for nouns, empty in (([4, 4, 1], 0.0), ([4, 4, 4], 1.0)):
        pairs = paired_batch(0, pairs=3)
        pairs.ego.labels = [torch.tensor([2, 2, 2]), torch.tensor(nouns)]
        pairs.exo.labels = [rows([{0}] * 3, 4), rows([{1}, {2}, {3}], 6)]
        z_ego, z_exo = (unit_rows(seed, 3, dtype=torch.float32) for seed in (1, 2))
        made = task.losses(output(z_ego, z_exo), pairs, 0, 0)
        made.total.backward()
        assert made.counts["align_empty"] == empty
        # Of both text terms; no exo clip is of the class of another.
        assert made.counts["text_empty"] == empty / 2
        assert torch.isfinite(z_ego.grad).all()
        assert (made.losses["align"] == 0) == (empty == 1)
