"""What a checkpoint holds, whoever wrote it."""

import pytest
import torch

from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile
from slowfast.utils.errors import UserError
from tests.engine.tiny_models import assert_same

WEIGHTS = {"s1.w": torch.ones(2), "head.projection.bias": torch.zeros(3)}


def _read(**content: object) -> CheckpointFile:
    return CheckpointFile.from_content("a.pyth", {"model_state": WEIGHTS, **content})


def test_weights_alone_have_nothing_else() -> None:
    for file in (CheckpointFile.from_content("a.pyth", WEIGHTS), _read()):
        assert_same(file.weights.tensors, WEIGHTS)
        assert file.weights.source == "a.pyth"
        assert (file.epoch, file.cfg_text, file.optimizer_state) == (-1, "", None)
        assert (file.extra, file.average) == ({}, None)


def test_what_a_run_adds_is_apart_from_what_every_checkpoint_has() -> None:
    average = {"s1.w": torch.full((2,), 5.0)}
    update = {"average": average}
    file = _read(epoch=3, cfg="A: 1", optimizer_state={"state": {}}, update=update, best={})
    assert (file.epoch, file.cfg_text, file.optimizer_state) == (3, "A: 1", {"state": {}})
    assert file.extra == {"update": update, "best": {}}
    assert file.average is not None
    assert_same(file.average.tensors, average)


@pytest.mark.parametrize("update", [None, 3, {}, {"average_of": {}}])
def test_no_average(update: object) -> None:
    assert _read(update=update).average is None


@pytest.mark.parametrize("epoch", ["best", None, [3]])
def test_an_epoch_that_is_no_number_matters_to_a_resume_alone(epoch: object) -> None:
    file = _read(epoch=epoch)
    assert_same(file.weights.tensors, WEIGHTS)
    with pytest.raises(UserError, match=r"a\.pyth: its epoch is .*TRAIN\.RESUME"):
        _ = file.epoch
