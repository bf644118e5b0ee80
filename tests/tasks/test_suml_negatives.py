"""SUML.NEGATIVES, TEXT_NEGATIVES and ALIGN.RELEVANCE: the step's terms against double loops."""

import pytest
import torch
from torch.nn.functional import normalize

from slowfast.models.ego_exo import EgoExoOutput
from slowfast.tasks.build import build_task
from tests.engine.tiny_updates import assert_same_gradients, gradients, make_update, update_cfg
from tests.losses.naive import naive_alignment, naive_dcl, naive_soft_alignment, unit_rows
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg

PAIRS = 6
TAU, SIGMA = 0.06, 0.1
VERBS, NOUNS = [0, 1, 0, 1, -1, -1], [0, 1, 0, 3, 2, 2]
EXO_VERBS = [{0, 1}, {2}, {2, 3}, {1}, set(), {0}]
EXO_NOUNS = [{0}, {1}, {1, 2}, {0, 3}, {3}, {2}]
EGO_TEXT, EXO_TEXT = [0, 0, 2, 3, 4, 5], [0, 1, 2, 3, 3, 5]


def rows(classes, count):
    return torch.tensor([[float(k in chosen) for k in range(count)] for chosen in classes])


def batch():
    pairs = paired_batch(0, pairs=PAIRS)
    pairs.ego.labels = [torch.tensor(VERBS), torch.tensor(NOUNS)]
    pairs.exo.labels = [rows(EXO_VERBS, 4), rows(EXO_NOUNS, 6)]
    for clips, same_as, seed in ((pairs.ego, EGO_TEXT, 3), (pairs.exo, EXO_TEXT, 4)):
        clips.text = normalize(unit_rows(seed, PAIRS).detach() + 0.4, dim=1)[same_as]
    return pairs


def output(z_ego, z_exo):
    ego = [torch.zeros(len(z_ego), k) for k in (5, 7)]
    return EgoExoOutput(ego, [torch.zeros(len(z_exo), k) for k in (4, 6)], z_ego, z_exo)


def step(**suml):
    """Losses and counts of fixed embeddings, and those embeddings."""
    z_ego, z_exo = unit_rows(1, PAIRS), unit_rows(2, PAIRS)
    task = build_task(tiny_cfg(**({"ALIGN__THRESHOLD": 0.0} | suml)))
    made = task.losses(output(z_ego, z_exo), batch(), 0, 0)
    return made, z_ego, z_exo


def same_ego_label(i, j):
    return VERBS[i] == VERBS[j] >= 0 and NOUNS[i] == NOUNS[j] >= 0


def same_exo_label(i, j):
    return bool(EXO_VERBS[i] & EXO_VERBS[j]) and bool(EXO_NOUNS[i] & EXO_NOUNS[j])


def same_ego_text(i, j):
    return EGO_TEXT[i] == EGO_TEXT[j]


def same_exo_text(i, j):
    return EXO_TEXT[i] == EXO_TEXT[j]


def same_text_of_either(i, j):
    return same_ego_text(i, j) or same_exo_text(i, j)


def none(i, j):
    return False


RELATIONS = {
    "all": (none, none, none),
    "drop_same_label": (same_ego_label, same_exo_label, same_ego_label),
    "drop_same_text": (same_ego_text, same_exo_text, same_text_of_either),
    "multi_positive": (same_ego_label, same_exo_label, same_ego_label),
}


@pytest.mark.parametrize("negatives", RELATIONS)
@pytest.mark.parametrize("text_negatives", ["both", "video"])
def test_terms_equal_the_double_loops(negatives, text_negatives):
    made, z_ego, z_exo = step(NEGATIVES=negatives, TEXT_NEGATIVES=text_negatives)
    join, within = negatives == "multi_positive", text_negatives == "both"
    d_ego, d_exo = batch().ego.text, batch().exo.text
    of_ego, of_exo, of_pairs = RELATIONS[negatives]
    for name, z, d, related in (
        ("ego_text", z_ego, d_ego, of_ego),
        ("exo_text", z_exo, d_exo, of_exo),
    ):
        wanted = naive_dcl(z, d, TAU, None, related, join)
        wanted = wanted + naive_dcl(d, z, TAU, None, related, join, within)
        assert made.losses[name].item() == pytest.approx(wanted.item(), rel=1e-10)
    wanted = naive_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.0, None, of_pairs, join)
    assert made.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert made.counts["text_empty"] == made.counts["align_empty"] == 0


def test_the_settings_are_different_losses():
    found = [step(NEGATIVES=name)[0] for name in RELATIONS]
    for term in ("ego_text", "exo_text", "align"):
        assert len({made.losses[term].item() for made in found}) == len(RELATIONS)


def label_relevance(i, j):
    return 1.0 if i == j else 0.5 * (VERBS[i] == VERBS[j] >= 0) + 0.5 * (NOUNS[i] == NOUNS[j] >= 0)


def text_relevance(i, j):
    pairs = batch()
    return float(torch.dot(pairs.ego.text[i], pairs.exo.text[j]))


@pytest.mark.parametrize(
    ("key", "relevance"), [("text", text_relevance), ("label", label_relevance)]
)
def test_soft_alignment_equals_the_double_loop(key, relevance):
    made, z_ego, z_exo = step(ALIGN__KIND="soft", ALIGN__RELEVANCE=key)
    wanted = naive_soft_alignment(z_ego, z_exo, relevance, TAU, SIGMA)
    assert made.losses["align"].item() == pytest.approx(wanted.item(), rel=1e-10)
    assert made.counts["align_empty"] == 0


def test_soft_alignment_needs_no_pair_above_the_threshold():
    made, *_ = step(ALIGN__KIND="soft", ALIGN__THRESHOLD=2.0)
    assert made.losses["align"] != 0


@pytest.mark.parametrize(
    "suml",
    [
        {"SUML__NEGATIVES": "drop_same_label"},
        {"SUML__NEGATIVES": "drop_same_text", "SUML__TEXT_NEGATIVES": "video"},
        {"SUML__NEGATIVES": "multi_positive", "SUML__ALIGN__KIND": "dcl_weighted"},
        {"SUML__ALIGN__KIND": "soft"},
        {"SUML__ALIGN__KIND": "soft", "SUML__ALIGN__RELEVANCE": "label"},
    ],
    ids=str,
)
def test_a_cached_step_in_parts_is_that_of_the_whole_batch(suml):
    pairs = batch()
    for clips in (pairs.ego, pairs.exo):
        clips.text = clips.text.double()
    whole = make_update(update_cfg(**suml))
    parts = make_update(update_cfg(SOLVER__ACCUMULATE=3, SUML__GRAD_CACHE=True, **suml))
    expected, output = whole(pairs, 0, 0).output, parts(pairs, 0, 0).output
    for name, loss in expected.losses.items():
        assert output.losses[name].item() == pytest.approx(loss.item(), rel=1e-6)
    # Sums in another order in float64, through a few layers.
    assert_same_gradients(gradients(parts), gradients(whole), 1e-8)


def test_anchors_without_negatives_are_counted():
    """Two of three clips are of one class, then all are."""
    task = build_task(tiny_cfg(ALIGN__THRESHOLD=-1.0, NEGATIVES="drop_same_label"))
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
