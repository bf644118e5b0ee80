"""Negatives from earlier steps: exo embeddings of a slow copy of the exo half (arXiv 1911.05722).

Legend: N clips of this process, M clips of all processes, Q rows of the queue, D embedding width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.dropout import SeededDropout
from slowfast.utils import distributed

# Below every cosine: no pair.
_NO_PAIR = -2.0


class ExoQueue:
    """The last Q exo clips of all processes, and what their pairs were; the same on every rank.

    Their embeddings come from a copy of the exo half whose weights follow it:
    slow <- momentum * slow + (1 - momentum) * weights, after every step that was made. The copy
    normalises by the statistics of its clips, as the exo half does in training.
    """

    def __init__(self, size: int, momentum: float) -> None:
        self._size = size
        self._momentum = momentum
        self._encoder: nn.ModuleList | None = None
        self._rows: dict[str, Tensor] = {}
        self._parts: list[dict[str, Tensor]] = []
        self._step = (-1, -1)
        # Of a checkpoint, for the encoder that the first forward pass makes.
        self._loaded: Mapping[str, Tensor] = {}

    @torch.no_grad()
    def embed(self, halves: nn.Module, clip: list[Tensor]) -> Tensor:
        """(N, D) embeddings of an exo clip, without gradients.

        halves: the dual model, whose exo half the first call copies.
        """
        if self._encoder is None:
            self._encoder = self._copied(halves)
        exo, projection = self._encoder
        embedded: Tensor = projection(exo.features(clip))  # type: ignore[operator]
        return embedded

    def remember(self, step: tuple[int, int], **rows: Tensor) -> None:
        """Clips of a part of a step that join the queue when it is made.

        rows: by name, tensors of N rows: `z` (N, D) the embeddings, `similarity` (N,) of the pairs'
            narrations, and what else of the pairs is to be known.
        """
        if step != self._step:
            self._parts.clear()
        self._step = step
        self._parts.append({name: tensor.detach() for name, tensor in rows.items()})

    @property
    def rows(self) -> dict[str, Tensor]:
        """As `remember`, of Q rows; empty before the first step. Rows without a clip have a
        similarity of -2."""
        return self._rows

    @torch.no_grad()
    def finish_step(self, halves: nn.Module, step_applied: Tensor) -> None:
        """step_applied: () bool on the device; false leaves copy and queue as they are."""
        self._follow(halves, step_applied)
        parts, self._parts = self._parts, []
        if not parts:
            return
        for name in parts[0]:
            new = distributed.all_gather(torch.cat([part[name] for part in parts]))
            if name not in self._rows:
                empty = _NO_PAIR if name == "similarity" else 0
                self._rows[name] = new.new_full((self._size, *new.shape[1:]), empty)
            rows = self._rows[name]
            rows.copy_(torch.where(step_applied, torch.cat([new, rows])[: self._size], rows))

    def state_dict(self) -> dict[str, Any]:
        encoder = self._loaded if self._encoder is None else dict(self._encoder.named_parameters())
        return {"encoder": {n: w.detach() for n, w in encoder.items()}, "rows": dict(self._rows)}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        self._loaded, self._encoder = state["encoder"], None
        self._rows = {name: tensor.to(device, copy=True) for name, tensor in state["rows"].items()}

    def _copied(self, halves: nn.Module) -> nn.ModuleList:
        exo_half = _exo_half(halves)
        copies: dict[int, Any] = {}
        for module in exo_half.modules():
            if isinstance(module, SeededDropout):
                # Features do not go through it, and its generator has no copy.
                copies[id(module)] = nn.Identity()
        # Tensors without memory, for which costs are counted, have clones alone.
        for buffer in exo_half.buffers():
            copies[id(buffer)] = buffer.clone()
        for weight in exo_half.parameters():
            copies[id(weight)] = nn.Parameter(weight.detach().clone(), requires_grad=False)
        encoder = copy.deepcopy(exo_half, copies).train()
        weights = dict(encoder.named_parameters())
        for name, loaded in self._loaded.items():
            weights[name].copy_(loaded)
        self._loaded = {}
        return encoder

    def _follow(self, halves: nn.Module, step_applied: Tensor) -> None:
        if self._encoder is None:
            return
        slow: list[Tensor] = list(self._encoder.parameters())
        weights: list[Tensor] = list(_exo_half(halves).parameters())
        towards = torch._foreach_sub(weights, slow)
        torch._foreach_mul_(towards, (1.0 - self._momentum) * step_applied)
        torch._foreach_add_(slow, towards)


def _exo_half(halves: nn.Module) -> nn.ModuleList:
    return nn.ModuleList([halves.get_submodule(name) for name in ("exo", "exo_projection")])
