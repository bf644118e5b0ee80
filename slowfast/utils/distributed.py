"""The only module with cross-rank calls. Every function works in one process too."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def machine_count() -> int:
    """Machines of the run, as far as the launcher tells how many processes each one has."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or world_size()
    return max(world_size() // here, 1)


def is_main() -> bool:
    return rank() == 0


def barrier() -> None:
    if world_size() > 1:
        dist.barrier()


def gather_objects(value: Any) -> list[Any]:
    """`value` of every rank, in rank order, on every rank (picklable objects)."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def broadcast_object(value: Any) -> Any:
    """Rank 0's `value` on every rank."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over ranks, without gradients, in a new tensor."""
    total = tensor.detach().clone()
    if world_size() > 1:
        dist.all_reduce(total)
    return total


def broadcast_buffers(model: nn.Module) -> None:
    """Give every rank the buffers (batch-norm statistics) of rank 0, which are what is saved."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _gathered(block: Tensor) -> Tensor:
    block = block.detach().contiguous()
    blocks = [torch.empty_like(block) for _ in range(world_size())]
    dist.all_gather(blocks, block)
    return torch.cat(blocks)


class _AllGather(torch.autograd.Function):
    """Concatenates equal-sized blocks; the gradient of a block is summed over the ranks."""

    @staticmethod
    def forward(ctx: Any, block: Tensor) -> Tensor:
        ctx.rows = block.shape[0]
        return _gathered(block)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = rank() * ctx.rows
        return total[start : start + ctx.rows]


def all_gather(block: Tensor) -> Tensor:
    """The blocks (n, ...) of all ranks as (world * n, ...), with gradients.

    The gradient that reaches a block is the sum of what all ranks send back to it. Every rank
    must bring a block of the same shape.
    """
    if world_size() == 1:
        return block
    if not block.requires_grad:
        return _gathered(block)
    gathered_block: Tensor = _AllGather.apply(block)
    return gathered_block
