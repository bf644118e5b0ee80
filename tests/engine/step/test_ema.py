"""The moving average of the weights."""

import logging

import pytest
import torch
from torch import nn

from slowfast.engine.checkpoint import load_test_weights, save_checkpoint
from slowfast.engine.step.ema import WeightAverage
from slowfast.models.build import build_model
from tests.engine.tiny_models import assert_same, copied, tiny_cfg, tiny_model

YES, NO = torch.tensor(True), torch.tensor(False)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def change(model, value):
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(value)


def test_averages_weights_and_statistics_and_copies_counters(model):
    change(model, 1)
    average = WeightAverage(model, 0.75)
    for value, expected in ((5, 2.0), (6, 3.0)):
        change(model, value)
        average.update(YES)
        for name, tensor in average.state_dict().items():
            assert (tensor == (value if name.endswith("tracked") else expected)).all(), name


def test_a_step_that_was_skipped_leaves_it(model):
    average = WeightAverage(model, 0.75)
    before = copied(average.state_dict())
    change(model, 5)
    average.update(NO)
    for name, tensor in average.state_dict().items():
        if not name.endswith("tracked"):
            assert torch.equal(tensor, before[name]), name


def _fail_with(model):
    assert (model[0].weight == 1).all()
    raise KeyError


def test_swapping_is_undone_after_an_error_too(model):
    change(model, 1)
    average = WeightAverage(model, 0.5)
    change(model, 3)
    own = copied(model.state_dict())
    parameters = list(model.parameters())
    with pytest.raises(KeyError), average.swapped_in():
        _fail_with(model)
    assert_same(model.state_dict(), own)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_test_takes_the_average_unless_told_not_to(wanted, tmp_path, caplog):
    logging.getLogger("slowfast").propagate = True
    caplog.set_level(logging.INFO, "slowfast")
    cfg = tiny_cfg(TEST__EMA=wanted)
    trained, average = tiny_model(cfg, seed=1), tiny_model(cfg, seed=2)
    path = save_checkpoint(
        tmp_path / "c.pyth",
        model=trained,
        optimizer=torch.optim.SGD(trained.parameters(), lr=0.1),
        epoch=0,
        cfg_text="",
        extra={"update": {"average": WeightAverage(average, 0.9).state_dict()}},
    )
    tested = build_model(cfg)
    load_test_weights(tested, path, cfg)
    assert_same(tested.state_dict(), (average if wanted else trained).state_dict())
    assert any("averaged weights" in record.message for record in caplog.records) == wanted
