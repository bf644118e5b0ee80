"""Accumulation in two processes with GradCache equals one process on the joined batch."""

import pytest
import torch

from slowfast.utils import distributed
from tests.distributed.processes import run_in_processes
from tests.engine.tiny_updates import (
    assert_same_gradients,
    batch_of,
    gradients,
    make_update,
    rows_of,
    update_cfg,
    weights,
)

PAIRS = 4
CACHED = {"SOLVER__ACCUMULATE": 2, "SUML__GRAD_CACHE": True}


def _two_steps(keys):
    """(losses of the second step, mean over processes; its gradients; weights after it)."""
    update = make_update(update_cfg(**keys))
    world, first = distributed.world_size(), distributed.rank() * PAIRS
    for iteration in range(2):
        batch = batch_of(2 * PAIRS, iteration)
        if world > 1:
            batch = rows_of(batch, slice(first, first + PAIRS))
        output, finite = update(batch, 0, iteration)
        assert finite
    losses = {n: float(distributed.all_reduce_sum(x) / world) for n, x in output.losses.items()}
    return losses, gradients(update), weights(update)


def _bad_on_one_rank(keys):
    """Whether the weights are unchanged, and the flag of the step."""
    update = make_update(update_cfg(**keys))
    before = weights(update)
    batch = batch_of(PAIRS)
    if distributed.rank() == 1:
        batch.ego.text[-1] = float("nan")
    finite = bool(update(batch, 0, 0).finite)
    return finite, all(torch.equal(x, before[n]) for n, x in weights(update).items())


def _bits(keys):
    """Weights and optimizer state after three steps in float32, with everything random."""
    # As the other processes: more threads add up in another order.
    torch.set_num_threads(1)
    update = make_update(update_cfg(**keys), double=False)
    world, first = distributed.world_size(), distributed.rank() * PAIRS
    for iteration in range(3):
        batch = batch_of(2 * PAIRS, iteration, double=False)
        if world > 1:
            batch = rows_of(batch, slice(first, first + PAIRS))
        update(batch, 0, iteration)
    parameters = {name: p.detach() for name, p in update.model.named_parameters()}
    return parameters, update.optimizer.state_dict()["state"]


# With the negatives of a part, and batch-norm statistics and dropout of a part.
EXACT = {"SUML__GATHER": False, "BN__NORM_TYPE": "batchnorm", "MODEL__DROPOUT_RATE": 0.5}


def _in_each_process():
    bad = _bad_on_one_rank({"SOLVER__ACCUMULATE": 2, "SUML__GATHER": False})
    return _two_steps(CACHED), bad, _bits(EXACT)


@pytest.fixture(scope="module")
def ranks():
    return run_in_processes(2, _in_each_process)


def test_two_cached_processes_equal_one_whole_batch(ranks):
    losses, expected, after = _two_steps({})
    for part, *_ in ranks:
        assert part[0].keys() == losses.keys()
        for name, value in losses.items():
            assert part[0][name] == pytest.approx(value, rel=1e-6)
        # Sums in another order in float64, and one step before.
        assert_same_gradients(part[1], expected, 1e-6)
        assert_same_gradients(part[2], after, 1e-6)


def test_a_part_that_is_not_finite_voids_the_step_everywhere(ranks):
    assert [bad for _, bad, _ in ranks] == [(False, True)] * 2


def test_one_process_with_two_parts_has_the_bits_of_two_processes(ranks):
    parameters, states = _bits({**EXACT, "SOLVER__ACCUMULATE": 2})
    for _, _, (expected, expected_states) in ranks:
        for name, value in expected.items():
            assert torch.equal(parameters[name], value), name
        assert states.keys() == expected_states.keys()
        for number, state in expected_states.items():
            for name, value in state.items():
                assert torch.equal(states[number][name], value), (number, name)
