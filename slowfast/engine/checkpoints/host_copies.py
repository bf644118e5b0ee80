"""Copies of tensors in host memory, in buffers that are reused from one save to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_Place = tuple[object, ...]


class HostCopies:
    """Copies nested containers; the copies share no memory with the model's tensors.

    The next call overwrites the copies of the last one. Allocating new memory would take longer
    than the copy, and much longer for pinned memory, which copies from CUDA need for full speed.
    """

    def __init__(self) -> None:
        self._buffers: dict[_Place, Tensor] = {}

    def __call__(self, content: Mapping[str, Any]) -> Any:
        """The copy of `content`, complete when this returns."""
        buffers, devices = dict[_Place, Tensor](), set[torch.device]()

        def copied(value: Any, place: _Place) -> Any:
            if isinstance(value, Tensor):
                buffers[place] = self._copy(value.detach(), place)
                devices.add(value.device)
                return buffers[place]
            if isinstance(value, Mapping):
                entries = ((key, copied(entry, (*place, key))) for key, entry in value.items())
                return type(value)(entries)  # type: ignore[call-arg]
            if isinstance(value, list):
                return [copied(entry, (*place, n)) for n, entry in enumerate(value)]
            return value

        result = copied(content, ())
        self._buffers = buffers  # Drop the buffers of tensors that no longer exist.
        for device in devices:
            if device.type == "cuda":
                torch.cuda.current_stream(device).synchronize()
        return result

    def _copy(self, tensor: Tensor, place: _Place) -> Tensor:
        """On CUDA the copy is only started: wait for the current stream."""
        buffer = self._buffers.get(place)
        if buffer is None or not _is_like(buffer, tensor):
            buffer = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
        return buffer.copy_(tensor, non_blocking=True)


def _is_like(buffer: Tensor, tensor: Tensor) -> bool:
    return (buffer.shape, buffer.dtype, buffer.stride(), buffer.is_pinned()) == (
        *(tensor.shape, tensor.dtype, tensor.stride()),
        tensor.is_cuda,
    )
