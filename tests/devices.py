"""The device of tests that run in several processes on request on GPUs: `pytest --device cuda`."""

from __future__ import annotations

import os

import torch

# In the environment, which child processes inherit.
VARIABLE = "SUML_TEST_DEVICE"


def on_cuda() -> bool:
    return os.environ.get(VARIABLE) == "cuda"


def device_of(rank: int) -> torch.device:
    """The GPU of a rank, or the CPU."""
    return torch.device("cuda", rank) if on_cuda() else torch.device("cpu")
