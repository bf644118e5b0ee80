"""What a CUDA graph reads and writes keeps its address from step to step."""

import pytest
import torch

from tests.engine.tiny_updates import batch_of, make_update, update_cfg


def addresses(update):
    state = update.optimizer.state
    entries = {
        **update.model.state_dict(keep_vars=True),
        **{f"{number}.{key}": x for number, s in enumerate(state.values()) for key, x in s.items()},
        **{f"state {name}": x for name, x in named(update.state_dict())},
    }
    return {name: x.data_ptr() for name, x in entries.items() if isinstance(x, torch.Tensor)}


def named(state, prefix=""):
    """(name, tensor) of nested dicts."""
    for key, value in state.items():
        if isinstance(value, dict):
            yield from named(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_every_state_stays_in_place(method):
    cfg = update_cfg(
        SOLVER__OPTIMIZING_METHOD=method,
        SOLVER__FUSED="always",
        SOLVER__EMA_DECAY=0.9,
        TRAIN__PRECISION="fp16",
        SUML__QUEUE__SIZE=8,
        BN__NORM_TYPE="batchnorm",
    )
    update = make_update(cfg, double=False)
    update(batch_of(4, 0, double=False), 0, 0)
    before = addresses(update)
    assert {name.split(".")[0] for name in before if name.startswith("state")} == {
        "state average",
        "state loss_scale",
        "state task",
    }
    update(batch_of(4, 1, double=False), 0, 1)
    with update.evaluated():
        assert addresses(update) == before
    assert addresses(update) == before
