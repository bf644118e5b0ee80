"""Small tensors that are computed on the host and used on the device."""

from __future__ import annotations

import torch
from torch import Tensor


def sent_to(device: torch.device, tensor: Tensor) -> Tensor:
    """Copy a host tensor to the device without waiting for the device."""
    if device.type == "cuda":
        # From pageable memory the copy may wait for the work that the device has been given.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
