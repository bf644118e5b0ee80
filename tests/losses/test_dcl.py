"""Decoupled contrastive loss against double loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from slowfast.losses import Anchors, Negatives, dcl_rows, decoupled_contrastive
from tests.losses.naive import gradients, naive_dcl, unit_rows

TAU = 0.06


def assert_equal_with_gradients(ours, theirs, *inputs):
    # The same sums in another order: float64 rounding of terms of size 1/tau.
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12, abs=1e-12)
    for a, b in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3, 16])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_double_loop(count, weighted):
    u, v = unit_rows(1, count), unit_rows(2, count)
    weight = torch.linspace(0.5, 2.0, count, dtype=torch.float64) if weighted else None
    ours = decoupled_contrastive(u, v, TAU, weight)
    assert_equal_with_gradients(ours, naive_dcl(u, v, TAU, weight), u, v)


def test_gradients_equal_finite_differences():
    u, v = unit_rows(1, 3), unit_rows(2, 3)
    weight = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda u, v: decoupled_contrastive(u, v, 0.5, weight), (u, v))


def test_one_clip_has_no_negatives_but_keeps_the_graph():
    u, v = unit_rows(1, 1), unit_rows(2, 1)
    loss = decoupled_contrastive(u, v, TAU)
    loss.backward()
    assert loss.item() == 0
    assert not u.grad.any()
    assert not v.grad.any()


def test_no_clip_at_all_is_zero():
    u, v = unit_rows(1, 0), unit_rows(2, 0)
    loss = decoupled_contrastive(u, v, TAU)
    loss.backward()
    assert loss.item() == 0


def test_known_value_of_orthogonal_pairs():
    u = torch.eye(3, dtype=torch.float64)
    # Positives have cosine 1, the 4 negatives cosine 0.
    assert decoupled_contrastive(u, u, 0.5).item() == pytest.approx(-1 / 0.5 + math.log(4))


def test_the_positive_is_no_negative():
    u, v = unit_rows(1, 4), unit_rows(2, 4)
    grad_v = gradients(decoupled_contrastive(u, v, TAU).mul(4), v)[0]
    # Alone, moving a positive changes the loss by -u_i / tau; the rest comes from other anchors.
    for i in range(4):
        others = [j for j in range(4) if j != i]
        rows = dcl_rows(Anchors.local(u, v), TAU)
        from_others = gradients(rows[others].sum(), v)[0][i]
        torch.testing.assert_close(grad_v[i] - from_others, -u[i].detach() / TAU)


@pytest.mark.parametrize("temperature", [0.06, 0.01, 0.001])
def test_no_overflow_in_float32(temperature):
    u = unit_rows(1, 16).detach()
    v = F.normalize(u + 0.1 * unit_rows(2, 16).detach(), dim=1)
    expected = decoupled_contrastive(u, v, temperature).item()
    u32, v32 = u.float().requires_grad_(), v.float().requires_grad_()
    loss = decoupled_contrastive(u32, v32, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert torch.isfinite(u32.grad).all()
    assert torch.isfinite(v32.grad).all()


def test_rows_with_candidates_equal_the_loss_of_the_candidates_alone():
    u, v = unit_rows(1, 6), unit_rows(2, 6)
    candidates = torch.tensor([True, False, True, True, False, False])
    rows = dcl_rows(Anchors.local(u, v), TAU, negatives=Negatives(candidates))
    ours = rows[candidates].mean()
    assert_equal_with_gradients(ours, naive_dcl(u[candidates], v[candidates], TAU), u, v)


def test_inputs_are_left_as_they_are():
    u, v = unit_rows(1, 4), unit_rows(2, 4)
    before = u.detach().clone(), v.detach().clone()
    decoupled_contrastive(u, v, TAU)
    assert torch.equal(u, before[0])
    assert torch.equal(v, before[1])
