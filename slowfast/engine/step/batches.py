"""Batches in a step: copied to the device, split into parts, and the parts' results joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from slowfast.tasks.base import StepOutput


class DeviceCopies:
    """Copies batches to a device on a separate stream, which overlaps with compute.

    The overlap needs pinned memory. Use one object for a whole run: memory is reused on the
    stream that it was first allocated for.
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
                # Its memory is not reused before the current stream is done with it.
                tensor.record_stream(current)
        return moved


def split(batch: Any, parts: int) -> list[Any]:
    """Split a batch, a dataclass of tensors with a row per clip, into at most `parts` batches."""
    rows = len(next(tensors(batch)))
    size = -(-rows // parts)
    return [_rows(batch, slice(start, start + size)) for start in range(0, rows, size)]


def _rows(value: Any, rows: slice) -> Any:
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, list):
        return [_rows(entry, rows) for entry in value]
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _rows(getattr(value, f.name), rows) for f in fields(value)}
        return replace(value, **changed)
    return value


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of a batch or of a model's output, in a fixed order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from tensors(entry)
    elif is_dataclass(value):
        for f in fields(value):
            yield from tensors(getattr(value, f.name))


def joined(outputs: Sequence[Any], join: Callable[[list[Tensor]], Tensor] = torch.cat) -> Any:
    """Join outputs of a model (tensors in lists and named tuples), tensor by tensor."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return join(list(outputs))
    if isinstance(first, (list, tuple)):
        entries = [joined(entry, join) for entry in zip(*outputs, strict=True)]
        return type(first)(*entries) if hasattr(first, "_fields") else type(first)(entries)
    return first


def merged(steps: Sequence[StepOutput], shares: Sequence[float]) -> StepOutput:
    """Merge the steps of a batch's parts: scalars are means weighted by `shares`, rows are joined.

    shares: fraction of the batch's clips in each part.
    """

    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([v.detach() * w for v, w in zip(values, shares, strict=True)]).sum(0)

    first = steps[0]
    return StepOutput(
        losses={name: mean([step.losses[name] for step in steps]) for name in first.losses},
        total=mean([step.total for step in steps]),
        logits=[torch.cat(parts) for parts in zip(*(s.logits for s in steps), strict=True)],
        labels=[torch.cat(parts) for parts in zip(*(s.labels for s in steps), strict=True)],
        counts={name: mean([step.counts[name] for step in steps]) for name in first.counts},
        weights=first.weights,
    )
