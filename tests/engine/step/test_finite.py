"""A step whose loss or gradient is not finite changes nothing, with every kind of optimizer."""

import copy

import pytest
import torch
from torch import nn

from slowfast.engine.step.finite import BadStep, FiniteWatch
from slowfast.engine.step.update import Update
from slowfast.tasks.base import StepOutput, Task


class Regression(Task):
    """Squares of the output, times `factor`: the loss; or, `in_gradient`, only its gradient."""

    def __init__(self):
        self.factor = 1.0
        self.in_gradient = False

    def seed(self, model, epoch, iteration, chunk=0, chunks=1):
        pass

    def forward(self, model, batch):
        return model(batch)

    def losses(self, output, batch, epoch, iteration):
        factor = torch.tensor(self.factor)
        if self.in_gradient:
            loss = output.square().mean() + (output.mean() - output.mean()) * 0
            output.register_hook(lambda gradient: gradient * factor)
        else:
            loss = output.square().mean() * factor
        return StepOutput({"good": loss.detach() * 0, "square": loss}, loss, [], [])

    def evaluate(self, model, batch):
        return [model(batch)]


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "fused sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "fused adam": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "adam": lambda p: torch.optim.AdamW(p, lr=0.1),
}


def build(optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    task = Regression()
    return model, task, Update(model, model, task, OPTIMIZERS[optimizer](model.parameters()))


def batch(number):
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(number))


def state(update):
    """Everything that training changes, except the number of batches seen."""
    weights = {k: v for k, v in update.model.state_dict().items() if "num_batches" not in k}
    slots = [copy.deepcopy(slot) for slot in update.optimizer.state_dict()["state"].values()]
    return copy.deepcopy(weights), slots


def assert_equal(one, other):
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name
    assert len(one[1]) == len(other[1])
    for a, b in zip(one[1], other[1], strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(torch.as_tensor(a[k]), torch.as_tensor(b[k])) for k in a)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad_step", [0, 2])
@pytest.mark.parametrize(
    ("factor", "in_gradient"), [(float("nan"), False), (float("inf"), False), (float("nan"), True)]
)
def test_nothing_changes(optimizer, bad_step, factor, in_gradient):
    _, task, update = build(optimizer)
    for number in range(bad_step):
        assert update(batch(number), 0, number).finite
    before = state(update)
    task.factor, task.in_gradient = factor, in_gradient
    broken = batch(7)
    broken[0, 0] = float("nan") if not in_gradient else 1.0  # reaches the batch norm's statistics
    assert not update(broken, 0, bad_step).finite
    assert_equal(state(update), before)
    task.factor, task.in_gradient = 1.0, False
    assert update(batch(8), 0, bad_step + 1).finite

    _, _, alone = build(optimizer)
    for number in (*range(bad_step), 8):
        alone(batch(number), 0, number)
    assert_equal(state(update), state(alone))


def test_the_watch_names_terms_and_steps():
    watch = FiniteWatch()
    nan, one = torch.tensor(float("nan")), torch.tensor(1.0)

    def output(**losses):
        return StepOutput(losses, one, [], [])

    watch.add(0, 3, output(a=one, b=one), torch.tensor(True))
    watch.add(0, 4, output(a=nan, b=one), torch.tensor(False))
    watch.add(0, 5, output(a=one, b=one), torch.tensor(False))
    watch.add(1, 0, output(a=one), torch.tensor(True))
    assert watch.read() == [BadStep(0, 4, ("a",)), BadStep(0, 5, ())]
    assert watch.read() == []
