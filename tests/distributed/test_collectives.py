"""Collectives in two and three real processes against one process on the joined rows."""

import pytest
import torch

from slowfast.utils import distributed
from tests.distributed.processes import run_in_processes


def _rows(world_size: int) -> torch.Tensor:
    return torch.randn(3 * world_size, 4, generator=torch.Generator().manual_seed(0)).double()


def _objective(rows: torch.Tensor) -> torch.Tensor:
    """Objective over all pairs of rows, with a distinct weight per row."""
    weights = torch.arange(1, len(rows) + 1, dtype=torch.float64)
    return ((rows @ rows.T).exp() * weights[:, None]).sum()


def _gathered_gradient(world_size: int) -> torch.Tensor:
    rank = distributed.rank()
    block = _rows(world_size)[3 * rank : 3 * rank + 3].requires_grad_()
    # Each rank holds the same objective, so their sum is world_size times one of them.
    (_objective(distributed.all_gather(block)) / world_size).backward()
    assert block.grad is not None
    return block.grad


@pytest.mark.parametrize("world_size", [2, 3])
def test_gradients_flow_back_to_every_rank(world_size):
    rows = _rows(world_size).requires_grad_()
    _objective(rows).backward()
    gathered = torch.cat(run_in_processes(world_size, _gathered_gradient, world_size))
    torch.testing.assert_close(gathered, rows.grad, rtol=1e-12, atol=0)


def _exchange() -> tuple[list[int], object, float]:
    rank = distributed.rank()
    total = distributed.all_reduce_sum(torch.tensor(float(rank + 1)))
    return (
        distributed.gather_objects(rank),
        distributed.broadcast_object(f"of {rank}"),
        float(total),
    )


def test_objects_and_sums():
    for result in run_in_processes(2, _exchange):
        assert result == ([0, 1], "of 0", 3.0)


def test_one_process_needs_no_group():
    block = torch.ones(2, 3, requires_grad=True)
    assert distributed.all_gather(block) is block
    assert distributed.gather_objects("x") == ["x"]
    assert distributed.broadcast_object(5) == 5
    assert (distributed.rank(), distributed.world_size(), distributed.machine_count()) == (0, 1, 1)


def _running_means() -> list[torch.Tensor]:
    """Running means of a batch norm with different clips per rank, and those after a broadcast."""
    norm = torch.nn.BatchNorm3d(2)
    norm(torch.full((1, 2, 1, 1, 1), float(distributed.rank() + 1)).repeat(2, 1, 1, 1, 1))
    before = norm.running_mean.clone()
    distributed.broadcast_buffers(norm)
    return [before, norm.running_mean]


def test_buffers_of_rank_0_are_taken():
    (first, first_after), (second, second_after) = run_in_processes(2, _running_means)
    assert not torch.equal(first, second)
    assert torch.equal(first_after, first)
    assert torch.equal(second_after, first)
