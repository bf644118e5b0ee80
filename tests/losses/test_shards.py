"""Losses of a batch that is split over processes: with all rows as negatives, the shares of the
shards sum up to the loss of the joined batch, and so do the gradients."""

import pytest
import torch

from slowfast.losses import (
    Anchors,
    Negatives,
    dcl_rows,
    decoupled_contrastive,
    view_alignment,
)
from slowfast.losses.alignment import AlignmentSettings, Pairs, alignment_kind
from tests.losses.naive import gradients, unit_rows

TAU = 0.06
SIGMA = 0.1
COUNT = 9
# Rows of each shard; uneven. The last shard of each has no pair above the threshold.
SHARDS = [(6, 3), (4, 2, 3)]
SIMILARITY = torch.tensor([0.9, 0.2, 0.8, 0.6, 0.7, 0.55, 0.1, 0.3, -0.2], dtype=torch.float64)


def inputs():
    return unit_rows(1, COUNT), unit_rows(2, COUNT)


def splits(sizes):
    return torch.arange(COUNT).split(sizes)


def anchors_at(at, u, v):
    """The anchors of one shard among all rows."""
    return Anchors(u[at], v[at], u, v, at)


def share_of(kind, pairs, threshold):
    return alignment_kind(kind).loss(pairs, AlignmentSettings(TAU, threshold, SIGMA)).share


def assert_same(joined, shares, *rows):
    assert sum(share.item() for share in shares) == pytest.approx(joined.item(), rel=1e-12)
    expected = gradients(joined, *rows)
    summed = [torch.zeros_like(x) for x in rows]
    for share in shares:
        for total, gradient in zip(summed, gradients(share, *rows), strict=True):
            total += gradient
    for ours, theirs in zip(summed, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sizes", SHARDS)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_decoupled_contrastive(sizes, direction):
    u, v = inputs()
    if direction == "backward":
        u, v = v, u
    joined = decoupled_contrastive(u, v, TAU)
    shares = [dcl_rows(anchors_at(at, u, v), TAU).sum() / COUNT for at in splits(sizes)]
    assert_same(joined, shares, u, v)


@pytest.mark.parametrize("sizes", SHARDS)
def test_text_terms(sizes):
    """z against fixed embeddings d: both directions; only z has a gradient."""
    z, d = unit_rows(1, COUNT), unit_rows(2, COUNT).detach()
    joined = decoupled_contrastive(z, d, TAU) + decoupled_contrastive(d, z, TAU)
    anchors = [anchors_at(at, z, d) for at in splits(sizes)]
    shares = [(dcl_rows(a, TAU) + dcl_rows(a.swapped(), TAU)).sum() / COUNT for a in anchors]
    assert_same(joined, shares, z)


@pytest.mark.parametrize("sizes", SHARDS)
@pytest.mark.parametrize("kind", ["dcl", "dcl_weighted"])
@pytest.mark.parametrize("threshold", [-1.0, 0.5, 0.85, 2.0])
def test_alignment(sizes, kind, threshold):
    z_ego, z_exo = inputs()
    d_ego = torch.nn.functional.one_hot(torch.zeros(COUNT, dtype=torch.long), 2).double()
    d_exo = torch.stack([SIMILARITY, (1 - SIMILARITY**2).sqrt()], dim=1)
    joined = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, threshold, SIGMA, kind)
    shares = [
        share_of(kind, Pairs(anchors_at(at, z_ego, z_exo), SIMILARITY), threshold)
        for at in splits(sizes)
    ]
    assert_same(joined, shares, z_ego, z_exo)
    if threshold == 0.5:
        assert joined.item() != 0
        assert shares[-1].item() == 0


@pytest.mark.parametrize("sizes", SHARDS)
@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_related_rows(sizes, join, within):
    u, v = inputs()
    groups = torch.tensor([0, 1, 0, 2, 1, 3, 0, 4, 1])
    related = groups[:, None] == groups

    def negatives(rows):
        return Negatives(related=rows, join_related=join, within=within)

    joined = decoupled_contrastive(u, v, TAU, negatives=negatives(related))
    shares = [
        dcl_rows(anchors_at(at, u, v), TAU, negatives=negatives(related[at])).sum() / COUNT
        for at in splits(sizes)
    ]
    assert_same(joined, shares, u, v)


@pytest.mark.parametrize("sizes", SHARDS)
def test_soft_alignment(sizes):
    z_ego, z_exo = inputs()
    d_ego, d_exo = unit_rows(3, COUNT).detach(), unit_rows(4, COUNT).detach()
    joined = view_alignment(z_ego, z_exo, d_ego, d_exo, TAU, 0.5, SIGMA, "soft")
    relevance = d_ego @ d_exo.T
    shares = [
        share_of(
            "soft",
            Pairs(
                anchors_at(at, z_ego, z_exo),
                relevance.diagonal(),
                relevance=(relevance[at], relevance.T[at]),
            ),
            0.5,
        )
        for at in splits(sizes)
    ]
    assert_same(joined, shares, z_ego, z_exo)


def test_negatives_of_one_shard_alone_are_another_loss():
    u, v = inputs()
    joined = decoupled_contrastive(u, v, TAU)
    alone = sum(decoupled_contrastive(u[at], v[at], TAU) * len(at) for at in splits((6, 3)))
    assert abs(joined.item() - alone.item() / COUNT) > 0.1


def test_memory_grows_with_local_times_all_rows():
    """4 anchors among 4096 rows: no (M, M) tensor is made."""
    u_all, v_all = unit_rows(1, 4096).detach(), unit_rows(2, 4096).detach()
    at = torch.arange(4)
    u, v = u_all[at].requires_grad_(), v_all[at].requires_grad_()
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    with Sizes():
        dcl_rows(Anchors(u, v, u_all, v_all, at), TAU).sum().backward()
    assert largest <= 4096 * 8
