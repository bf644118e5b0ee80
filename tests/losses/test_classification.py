"""Classification terms against loops, with unlabelled clips."""

import math

import pytest
import torch

from slowfast.losses import cross_entropy, multilabel


def random_logits(count, classes):
    draw = torch.Generator().manual_seed(count * 100 + classes)
    return torch.randn(count, classes, generator=draw, dtype=torch.float64, requires_grad=True)


def naive_cross_entropy(logits, labels):
    values = [
        torch.log(torch.exp(row).sum()) - row[label]
        for row, label in zip(logits, labels.tolist(), strict=True)
        if label >= 0
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("labels", [[2], [0, 4, -1], [1, -1, -1, 3]])
def test_cross_entropy_is_the_mean_over_labelled_clips(labels):
    logits, labels = random_logits(len(labels), 5), torch.tensor(labels)
    (ours,) = cross_entropy([logits], [labels])
    expected = naive_cross_entropy(logits, labels)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-12)
    for a, b in zip(
        torch.autograd.grad(ours, logits), torch.autograd.grad(expected, logits), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_cross_entropy_of_unlabelled_clips_is_a_zero_that_keeps_the_graph():
    logits = random_logits(3, 5)
    (loss,) = cross_entropy([logits], [torch.full((3,), -1)])
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_one_value_per_task():
    logits = [random_logits(2, 5), random_logits(2, 7)]
    verb, noun = cross_entropy(logits, [torch.tensor([0, 1]), torch.tensor([6, 2])])
    assert verb.item() != noun.item()
    with pytest.raises(ValueError):
        cross_entropy(logits, [torch.tensor([0, 1])])


def test_multilabel_is_the_mean_over_all_entries():
    logits = random_logits(3, 4)
    targets = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    (ours,) = multilabel([logits], [targets])
    total = 0.0
    for row, wanted in zip(logits.tolist(), targets.tolist(), strict=True):
        for x, y in zip(row, wanted, strict=True):
            p = 1 / (1 + math.exp(-x))
            total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    assert ours.item() == pytest.approx(total / 12, rel=1e-12)


def test_multilabel_of_large_logits_is_finite():
    (loss,) = multilabel([torch.tensor([[200.0, -200.0]])], [torch.tensor([[0.0, 1.0]])])
    assert loss.item() == pytest.approx(200)
