"""Negatives with the same meaning as the anchor: detection, and the losses without them."""

import pytest
import torch

from slowfast.losses import (
    Anchors,
    ExtraNegatives,
    Negatives,
    dcl_rows,
    decoupled_contrastive,
    view_alignment,
)
from slowfast.losses.dcl import without_negatives
from slowfast.losses.negatives import class_overlap, same_classes, same_text
from tests.losses.naive import (
    gradients,
    naive_alignment,
    naive_dcl,
    naive_soft_alignment,
    unit_rows,
)
from tests.losses.test_alignment import texts

TAU = 0.06
SIGMA = 0.1
# Rows of one letter are related; q and z are alone with it.
GROUPS = "aabaqbz"
COUNT = len(GROUPS)
RELATED = torch.tensor([[a == b for b in GROUPS] for a in GROUPS])
ALL_RELATED = torch.ones(COUNT, COUNT, dtype=torch.bool)


def related(i, j):
    return GROUPS[i] == GROUPS[j]


def assert_equal_with_gradients(ours, theirs, *inputs):
    # The same sums in another order: float64 rounding of terms of size 1/tau.
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12, abs=1e-12)
    for a, b in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_decoupled_contrastive_equals_the_double_loop(join, within, weighted):
    u, v = unit_rows(1, COUNT), unit_rows(2, COUNT)
    weight = torch.linspace(0.5, 2.0, COUNT, dtype=torch.float64) if weighted else None
    negatives = Negatives(related=RELATED, join_related=join, within=within)
    ours = decoupled_contrastive(u, v, TAU, weight, negatives)
    theirs = naive_dcl(u, v, TAU, weight, related, join, within)
    assert_equal_with_gradients(ours, theirs, u, v)


def test_without_negatives_among_the_anchors_equals_the_double_loop():
    u, v = unit_rows(1, COUNT), unit_rows(2, COUNT)
    ours = decoupled_contrastive(u, v, TAU, negatives=Negatives(within=False))
    assert_equal_with_gradients(ours, naive_dcl(u, v, TAU, within=False), u, v)
    assert not torch.equal(ours, decoupled_contrastive(u, v, TAU))


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted"])
@pytest.mark.parametrize("threshold", [-1.0, 0.5])
def test_alignment_equals_the_double_loop(join, kind, threshold):
    z_ego, z_exo = unit_rows(1, COUNT), unit_rows(2, COUNT)
    d_ego, d_exo = texts([0.9, 0.7, 0.6, 0.1, 0.8, 0.55, 0.2])
    negatives = Negatives(related=RELATED, join_related=join)
    ours = view_alignment(
        z_ego, z_exo, d_ego, d_exo, TAU, threshold, SIGMA, kind, negatives=negatives
    )
    sigma = SIGMA if kind == "dcl_weighted" else None
    theirs = naive_alignment(z_ego, z_exo, d_ego, d_exo, TAU, threshold, sigma, related, join)
    assert_equal_with_gradients(ours, theirs, z_ego, z_exo)


def test_pairs_below_the_threshold_are_no_positives_of_others():
    z_ego, z_exo = unit_rows(1, 4), unit_rows(2, 4)
    d_ego, d_exo = texts([0.9, 0.1, 0.8, 0.7])
    all_but_last = torch.tensor([[i == j or (i < 3 and j < 3) for j in range(4)] for i in range(4)])
    negatives = Negatives(related=all_but_last, join_related=True)
    loss = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5, negatives=negatives)
    for gradient in gradients(loss, z_ego, z_exo):
        assert not gradient[1].any()
        assert (gradient[[0, 2, 3]].norm(dim=1) > 0).all()


@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_without_negatives_are_zeros_that_keep_the_graph(join, dtype):
    u, v = unit_rows(1, COUNT, dtype=dtype), unit_rows(2, COUNT, dtype=dtype)
    negatives = Negatives(related=ALL_RELATED, join_related=join)
    loss = decoupled_contrastive(u, v, TAU, negatives=negatives)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(u.grad, torch.zeros_like(u))
    assert torch.equal(v.grad, torch.zeros_like(v))


@pytest.mark.parametrize("join", [False, True])
def test_no_relation_beyond_itself_is_the_plain_loss(join):
    u, v = unit_rows(1, COUNT), unit_rows(2, COUNT)
    itself = torch.eye(COUNT, dtype=torch.bool)
    negatives = Negatives(related=itself, join_related=join)
    ours = decoupled_contrastive(u, v, TAU, negatives=negatives)
    assert_equal_with_gradients(ours, decoupled_contrastive(u, v, TAU), u, v)


def test_a_joined_positive_is_drawn_near_and_a_dropped_row_left_alone():
    u, v = unit_rows(1, COUNT), unit_rows(2, COUNT)

    def of_first_anchor(join):
        negatives = Negatives(related=RELATED, join_related=join)
        rows = dcl_rows(Anchors.local(u, v), TAU, negatives=negatives)
        return gradients(rows[0], v)[0]

    assert torch.dot(of_first_anchor(True)[1], u[0].detach()) < 0
    assert not of_first_anchor(False)[1].any()
    assert torch.dot(of_first_anchor(False)[2], u[0].detach()) > 0


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("use_related", [False, True])
def test_further_negatives_equal_the_double_loop(within, use_related):
    u, v, extra = unit_rows(1, COUNT), unit_rows(2, COUNT), unit_rows(3, 4)
    draw = torch.Generator().manual_seed(0)
    excluded = torch.rand(COUNT, 4, generator=draw) < 0.4
    negatives = Negatives(
        related=RELATED if use_related else None,
        within=within,
        extra=ExtraNegatives(extra, excluded),
    )
    ours = dcl_rows(Anchors.local(u, v), TAU, negatives=negatives)
    theirs = naive_dcl(
        u,
        v,
        TAU,
        related=related if use_related else lambda i, j: False,
        within=within,
        extra=lambda i: [extra[k] for k in range(4) if not excluded[i, k]],
    )
    assert_equal_with_gradients(ours.mean(), theirs, u, v, extra)


def test_further_negatives_alone_are_enough():
    u, v, extra = unit_rows(1, 2), unit_rows(2, 2), unit_rows(3, 3)
    excluded = torch.tensor([[False, True, False], [True, True, True]])
    negatives = Negatives(
        related=torch.ones(2, 2, dtype=torch.bool), extra=ExtraNegatives(extra, excluded)
    )
    anchors = Anchors.local(u, v)
    rows = dcl_rows(anchors, TAU, negatives=negatives)
    theirs = -u[0] @ v[0] / TAU + torch.logsumexp(extra[[0, 2]] @ u[0] / TAU, 0)
    assert_equal_with_gradients(rows.sum(), theirs, u, v, extra)
    assert rows[1] == 0
    assert without_negatives(anchors, negatives).tolist() == [False, True]


def test_anchors_without_negatives_are_those_whose_loss_is_zero():
    u, v = unit_rows(1, COUNT), unit_rows(2, COUNT)
    related = RELATED.clone()
    related[2] = True
    candidates = torch.ones(COUNT, dtype=torch.bool)
    for negatives in (Negatives(related=related), Negatives(candidates, related)):
        anchors = Anchors.local(u, v)
        alone = without_negatives(anchors, negatives)
        assert alone.tolist() == [False, False, True, *[False] * 4]
        assert torch.equal(alone, dcl_rows(anchors, TAU, negatives=negatives) == 0)
    assert without_negatives(anchors, Negatives(~candidates)).all()


def test_swapped_anchors_are_the_other_direction():
    u, v = unit_rows(1, COUNT), unit_rows(2, COUNT)
    ours = dcl_rows(Anchors.local(u, v).swapped(), TAU).mean()
    assert_equal_with_gradients(ours, naive_dcl(v, u, TAU), u, v)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_soft_alignment_equals_the_double_loop(count):
    z_ego, z_exo = unit_rows(1, count), unit_rows(2, count)
    d_ego, d_exo = unit_rows(3, count).detach(), unit_rows(4, count).detach()
    ours = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 2.0, SIGMA, "soft")
    theirs = naive_soft_alignment(
        z_ego, z_exo, lambda i, j: float(torch.dot(d_ego[i], d_exo[j])), TAU, SIGMA
    )
    assert_equal_with_gradients(ours, theirs, z_ego, z_exo)


def test_sharp_soft_targets_are_the_cross_entropy_of_the_pairs():
    z_ego, z_exo = unit_rows(1, 5), unit_rows(2, 5)
    d = torch.eye(5, dtype=torch.float64)
    ours = view_alignment(z_ego, z_exo, d, d, TAU, 0.5, 1e-3, "soft")
    logits, own = z_ego @ z_exo.T / TAU, torch.arange(5)
    theirs = torch.nn.functional.cross_entropy(logits, own)
    theirs = theirs + torch.nn.functional.cross_entropy(logits.T, own)
    assert_equal_with_gradients(ours, theirs, z_ego, z_exo)


def test_same_classes_of_single_labels():
    verbs, nouns = torch.tensor([3, 3, 3, -1, -1]), torch.tensor([5, 5, 6, 5, 5])
    found = same_classes([verbs, nouns], [verbs, nouns])
    wanted = torch.zeros(5, 5, dtype=torch.bool)
    wanted[:2, :2] = True
    wanted[2, 2] = True
    assert torch.equal(found, wanted)


def test_same_classes_of_sets_need_one_verb_and_one_noun_in_common():
    verbs = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]]).float()
    nouns = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 1]]).float()
    found = same_classes([verbs, nouns], [verbs, nouns])
    for i in range(4):
        for j in range(4):
            wanted = all(
                any(a and b for a, b in zip(sets[i], sets[j], strict=True))
                for sets in (verbs.tolist(), nouns.tolist())
            )
            assert found[i, j] == wanted
    assert found[0, 1]
    assert not found[0, 2]


def test_same_classes_of_some_rows_among_all():
    verbs, nouns = torch.tensor([1, 2, 1, 2]), torch.tensor([4, 4, 4, 5])
    every = same_classes([verbs, nouns], [verbs, nouns])
    assert torch.equal(same_classes([verbs[2:], nouns[2:]], [verbs, nouns]), every[2:])


def test_class_overlap_counts_tasks():
    verbs, nouns = torch.tensor([1, 1, 2, -1]), torch.tensor([4, 5, 5, 4])
    wanted = [[1, 0.5, 0, 0.5], [0.5, 1, 0.5, 0], [0, 0.5, 1, 0], [0.5, 0, 0, 0.5]]
    assert class_overlap([verbs, nouns], [verbs, nouns]).tolist() == wanted


def test_same_text_is_the_same_embedding_up_to_rounding():
    d = unit_rows(1, 6, width=384, dtype=torch.float32).detach()
    d[3] = d[0]
    d[4] = torch.nn.functional.normalize(d[1] + 1e-5 * torch.ones(384), dim=0)
    d[5] = torch.nn.functional.normalize(d[2] + 2e-3 * d[1], dim=0)
    found = same_text(d, d)
    wanted = torch.eye(6, dtype=torch.bool)
    wanted[0, 3] = wanted[3, 0] = wanted[1, 4] = wanted[4, 1] = True
    assert torch.equal(found, wanted)
