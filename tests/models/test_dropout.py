"""Dropout that depends on its seed alone."""

import copy

import pytest
import torch
from torch import nn

from slowfast.models.dropout import SeededDropout, reseed_dropout


def seeded(rate, seed):
    dropout = SeededDropout(rate).train()
    dropout.reseed(seed)
    return dropout


def test_keeps_the_mean_and_drops_its_rate():
    out = seeded(0.25, 1)(torch.ones(200, 200))
    # 40,000 draws: the standard deviation of the share is 0.002.
    assert (out == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])


def test_the_mask_depends_on_the_seed_alone():
    x = torch.ones(4, 64)
    first = seeded(0.5, 3)(x)
    torch.rand(5)
    assert torch.equal(seeded(0.5, 3)(x), first)
    assert not torch.equal(seeded(0.5, 4)(x), first)


def test_successive_masks_of_one_seed_differ():
    dropout = seeded(0.5, 3)
    x = torch.ones(4, 64)
    assert not torch.equal(dropout(x), dropout(x))


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.5, False)])
def test_draws_nothing_where_nothing_is_dropped(rate, training):
    dropout = seeded(rate, 3).train(training)
    x = torch.randn(2, 8)
    assert dropout(x) is x
    fresh = torch.ones(4, 64)
    dropout.rate = 0.5
    assert torch.equal(dropout.train()(fresh), seeded(0.5, 3)(fresh))


def test_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    seeded(0.5, 3)(torch.ones(8))
    assert torch.equal(torch.get_rng_state(), before)


def test_gradient_passes_through_the_mask():
    x = torch.randn(3, 16, requires_grad=True)
    out = seeded(0.5, 3)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, (out != 0) * 2.0)


def test_reseeds_every_dropout_below_a_module():
    model = nn.Sequential(SeededDropout(0.5), nn.Sequential(SeededDropout(0.5))).train()
    x = torch.ones(4, 64)
    reseed_dropout(model, 9)
    first = model(x)
    reseed_dropout(model, 9)
    assert torch.equal(model(x), first)


def test_a_copy_goes_on_by_itself():
    dropout = seeded(0.5, 3)
    x = torch.ones(4, 64)
    dropout(x)
    copied = copy.deepcopy(dropout)
    assert torch.equal(copied(x), dropout(x))
