"""View alignment against double loops, at every number of kept pairs."""

import pytest
import torch

from slowfast.losses import Anchors, view_alignment
from slowfast.losses.alignment import (
    KINDS,
    AlignmentSettings,
    Pairs,
    alignment_kind,
    pair_weights,
)
from tests.losses.naive import gradients, naive_alignment, unit_rows

TAU = 0.06
SIGMA = 0.1


def texts(similarities):
    """(d_ego, d_exo) whose row products are `similarities`."""
    s = torch.tensor(similarities, dtype=torch.float64)
    d_ego = torch.stack([torch.ones_like(s), torch.zeros_like(s)], dim=1)
    return d_ego, torch.stack([s, (1 - s**2).clamp(min=0).sqrt()], dim=1)


def spread(count):
    """Similarities from -0.2 to 0.95, so that some pairs pass 0.5 and some do not."""
    return torch.linspace(-0.2, 0.95, count).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 16])
@pytest.mark.parametrize("threshold", [-1.0, 0.5, 2.0])
@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted"])
def test_equals_the_double_loop(count, threshold, kind):
    z_ego, z_exo = unit_rows(1, count), unit_rows(2, count)
    d_ego, d_exo = texts(spread(count))
    ours = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, threshold, SIGMA, kind)
    sigma = SIGMA if kind == "dcl_weighted" else None
    theirs = naive_alignment(z_ego, z_exo, d_ego, d_exo, TAU, threshold, sigma)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12, abs=1e-12)
    ours_grad = gradients(ours, z_ego, z_exo)
    for a, b in zip(ours_grad, gradients(theirs, z_ego, z_exo), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fewer_than_two_kept_pairs_are_a_zero_that_keeps_the_graph(kept, kind, dtype):
    z_ego, z_exo = unit_rows(1, 4, dtype=dtype), unit_rows(2, 4, dtype=dtype)
    d_ego, d_exo = (d.to(dtype) for d in texts([0.9] * kept + [0.1] * (4 - kept)))
    loss = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5, SIGMA, kind)
    loss.backward()
    assert loss.item() == 0
    for z in (z_ego, z_exo):
        assert torch.equal(z.grad, torch.zeros_like(z))


def test_a_pair_at_the_threshold_is_not_kept():
    z_ego, z_exo = unit_rows(1, 3), unit_rows(2, 3)
    d_ego, d_exo = texts([0.5, 0.75, 0.75])
    ours = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5)
    kept = [z[1:] for z in (z_ego, z_exo, d_ego, d_exo)]
    assert ours.item() == pytest.approx(view_alignment(*kept, TAU, -1.0).item(), rel=1e-12)


def test_pairs_that_are_not_kept_change_nothing():
    z_ego, z_exo = unit_rows(1, 5), unit_rows(2, 5)
    d_ego, d_exo = texts([0.9, 0.1, 0.8, 0.2, 0.7])
    loss = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5)
    for gradient in gradients(loss, z_ego, z_exo):
        assert not gradient[[1, 3]].any()
        assert (gradient[[0, 2, 4]].norm(dim=1) > 0).all()


def test_pair_weights_are_a_softmax_of_mean_one_over_the_kept_pairs():
    similarity = torch.tensor([0.9, 0.1, 0.7, 0.6])
    kept = similarity > 0.5
    weights = pair_weights(similarity, kept, SIGMA)
    assert weights[1] == 0
    assert weights[kept].mean().item() == pytest.approx(1)
    ratio = torch.exp(torch.tensor((0.9 - 0.7) / SIGMA))
    torch.testing.assert_close(weights[0] / weights[2], ratio)
    assert not pair_weights(similarity, similarity > 1, SIGMA).any()


def naive_triplet(anchor, positive, negative, margin):
    total = 0.0
    for a, p, n in zip(anchor, positive, negative, strict=True):
        near = torch.sqrt(((a - p + 1e-6) ** 2).sum())
        far = torch.sqrt(((a - n + 1e-6) ** 2).sum())
        total = total + torch.clamp(near - far + margin, min=0)
    return total / len(anchor)


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_triplet_takes_every_pair_and_permuted_ego_negatives(count):
    z_ego, z_exo = unit_rows(1, count), unit_rows(2, count)
    d_ego, d_exo = texts([-0.5] * count)
    permutation = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    options = {"permutation": permutation, "margin": 0.2}
    ours = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5, kind="triplet", **options)
    theirs = naive_triplet(z_ego, z_exo, z_ego[permutation], 0.2)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    ours_grad = gradients(ours, z_ego, z_exo)
    for a, b in zip(ours_grad, gradients(theirs, z_ego, z_exo), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_none_is_a_zero_that_keeps_the_graph():
    z_ego, z_exo = unit_rows(1, 3), unit_rows(2, 3)
    loss = view_alignment(z_ego, z_exo, *texts([0.9] * 3), TAU, 0.5, kind="none")
    loss.backward()
    assert loss.item() == 0
    assert not z_ego.grad.any()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("triplet", "permutation"),
        ("dcl_weighted", "sigma"),
        ("soft", "sigma"),
        ("cosine", "dcl_weighted, triplet"),
    ],
)
def test_what_a_kind_lacks_is_an_error(kind, message):
    rows = unit_rows(1, 3)
    with pytest.raises(ValueError, match=message):
        view_alignment(rows, rows, *texts([0.9] * 3), TAU, 0.5, kind=kind)


def test_soft_needs_its_relevance():
    rows = unit_rows(1, 3)
    pairs = Pairs(Anchors.local(rows, rows), torch.ones(3))
    with pytest.raises(ValueError, match="relevance"):
        alignment_kind("soft").loss(pairs, AlignmentSettings(TAU, 0.5, SIGMA))


@pytest.mark.parametrize("kind", KINDS)
def test_the_public_loss_is_the_share_of_one_process(kind):
    """Training uses the functions that `slowfast.losses` exports."""
    z_ego, z_exo = unit_rows(1, 5), unit_rows(2, 5)
    d_ego, d_exo = texts([0.9, 0.1, 0.8, 0.7, 0.6])
    order = torch.tensor([4, 0, 3, 1, 2])
    relevance = d_ego @ d_exo.T
    pairs = Pairs(
        Anchors.local(z_ego, z_exo),
        (d_ego * d_exo).sum(1),
        relevance=(relevance, relevance.T),
        permutation=order,
    )
    trained = alignment_kind(kind).loss(pairs, AlignmentSettings(TAU, 0.5, SIGMA, margin=0.2))
    options = {"permutation": order, "margin": 0.2}
    public = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5, SIGMA, kind, **options)
    assert torch.equal(public, trained.share)
    assert (trained.empty is None) == (kind in ("triplet", "none"))


@pytest.mark.parametrize(("similarities", "empty"), [([0.9, 0.8, 0.1], 0), ([0.9, 0.2, 0.1], 1)])
def test_the_share_of_kept_pairs_without_negatives(similarities, empty):
    d_ego, d_exo = texts(similarities)
    pairs = Pairs(Anchors.local(unit_rows(1, 3), unit_rows(2, 3)), (d_ego * d_exo).sum(1))
    assert alignment_kind("dcl").loss(pairs, AlignmentSettings(TAU, 0.5)).empty == empty
