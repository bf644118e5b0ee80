"""Runs a function in several real processes and brings back what they return.

Over gloo on the CPU; with `pytest --device cuda` over nccl, one GPU for each.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.devices import device_of


def forkserver() -> BaseContext:
    """Start method whose processes are copies of one that has imported torch, which takes seconds.

    They have the environment of the first call.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "slowfast.engine.run"])
    return context


def run_in_processes(world_size: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """`function(*args)` on every rank; its results, on the CPU, in rank order.

    The function must be importable; it finds its device by `device_of`.
    """
    forkserver()
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            _child,
            args=(world_size, folder, function, args),
            nprocs=world_size,
            start_method="forkserver",
        )
        return [
            torch.load(Path(folder) / f"{rank}.pt", weights_only=False, map_location="cpu")
            for rank in range(world_size)
        ]


def _child(
    rank: int, world_size: int, folder: str, function: Callable[..., Any], args: Any
) -> None:
    torch.set_num_threads(1)
    device = device_of(rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world_size,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        torch.save(function(*args), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
