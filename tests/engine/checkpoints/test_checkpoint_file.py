"""Content of a checkpoint, whoever wrote it."""

import torch

from slowfast.engine.checkpoints.checkpoint_file import CheckpointFile
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


def test_no_average() -> None:
    assert _read(update={"scaler": {}}).average is None
