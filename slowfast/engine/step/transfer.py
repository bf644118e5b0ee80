"""Moves batches to the device beside its work."""

from __future__ import annotations

from typing import Any

import torch

from slowfast.engine.step.batches import tensors


class DeviceCopies:
    """Copies on a stream of their own: from page-locked memory they overlap with compute.

    One for a whole training: memory is used again on the stream that it was first taken for.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: Any) -> Any:
        """`batch` on the device, ready for the current stream."""
        if self._stream is None:
            return batch.to(self._device)
        with torch.cuda.stream(self._stream):
            moved = batch.to(self._device)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        for tensor in tensors(moved):
            if tensor.is_cuda:
                # Its memory is not given away before the current stream is done with it.
                tensor.record_stream(current)
        return moved
