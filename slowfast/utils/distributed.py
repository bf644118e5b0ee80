"""The only module with cross-rank calls. Every function works in one process too."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store

from slowfast.utils.launcher import launcher_number

# Timeout of every group. torch would give further groups its own default.
_timeout: datetime.timedelta | None = None


def join_group(
    store: Store,
    rank: int,
    world_size: int,
    timeout: datetime.timedelta,
    device: torch.device,
) -> None:
    """Join the process group: nccl for CUDA devices, else gloo.

    timeout: limit of every collective call. Raises: RuntimeError if the group cannot be created.
    """
    global _timeout
    on_cuda = device.type == "cuda"
    dist.init_process_group(
        backend="nccl" if on_cuda else "gloo",
        store=store,
        rank=rank,
        world_size=world_size,
        # nccl ends the process without naming the missing ranks; gloo names them, so it goes first.
        timeout=2 * timeout if on_cuda else timeout,
        device_id=device if on_cuda else None,
    )
    _timeout = timeout


def data_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Wrap the model so that gradients are averaged over ranks; unchanged in one process.

    Batch-norm statistics are not synchronised: checkpoints store those of rank 0, and
    `broadcast_buffers` copies them to all ranks before they are used.
    """
    if world_size() == 1:
        return model
    wrapped = nn.parallel.DistributedDataParallel(
        model, device_ids=[device.index] if device.type == "cuda" else None
    )
    # Set after construction, because newer versions warn about the argument.
    wrapped.broadcast_buffers = False
    return wrapped


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def machine_count() -> int:
    """Number of machines of the run, if the launcher says how many processes each one has."""
    here = launcher_number("LOCAL_WORLD_SIZE", 0) or world_size()
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


def gather_to_main(value: Any) -> list[Any]:
    """`value` of every rank, in rank order, on rank 0; an empty list elsewhere.

    Sent through host memory (gloo), because all parts may not fit in device memory.
    """
    if world_size() == 1:
        return [value]
    values: list[Any] | None = [None] * world_size() if is_main() else None
    dist.gather_object(value, values, dst=0, group=_host_group())
    return values or []


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


def all_reduce_and(flag: Tensor) -> Tensor:
    """Logical AND over ranks of `flag`, bool of any shape on the device."""
    everywhere = flag.to(torch.int32)
    if world_size() > 1:
        dist.all_reduce(everywhere, op=dist.ReduceOp.MIN)
    return everywhere.bool()


def begin_host_max(value: int) -> Callable[[], int]:
    """Start computing the largest `value` over ranks; the returned function waits for it.

    Sent through host memory (gloo), so it runs concurrently with the work of the devices.
    """
    if world_size() == 1:
        return lambda: value
    largest = torch.tensor(value)
    work = dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=_host_group(), async_op=True)

    def finish() -> int:
        work.wait()
        return int(largest)

    return finish


_host_groups: dict[Any, Any] = {}


def _host_group() -> Any:
    """A gloo group of all ranks, created on first use, which must happen on all ranks together."""
    world = dist.group.WORLD
    if world not in _host_groups:
        _host_groups.clear()
        _host_groups[world] = dist.new_group(backend="gloo", timeout=_timeout)
    return _host_groups[world]


def broadcast_buffers(model: nn.Module) -> None:
    """Copy the buffers (batch-norm statistics) of rank 0 to every rank, as checkpoints store
    those."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def _gathered(block: Tensor) -> Tensor:
    block = block.detach().contiguous()
    blocks = [torch.empty_like(block) for _ in range(world_size())]
    dist.all_gather(blocks, block)
    return torch.cat(blocks)


class _AllGather(torch.autograd.Function):
    """Concatenation of equal-sized blocks; the gradient of a block is summed over the ranks."""

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

    The gradient of a block is the sum of its gradients from all ranks. Blocks must have the same
    shape on every rank.
    """
    if world_size() == 1:
        return block
    if not block.requires_grad:
        return _gathered(block)
    gathered_block: Tensor = _AllGather.apply(block)
    return gathered_block
