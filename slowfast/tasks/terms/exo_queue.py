"""Negatives from earlier steps: exo embeddings of a slow copy of the exo half (arXiv 1911.05722).

Legend: N clips of this process, M clips of all processes, Q rows of the queue, D embedding width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.types import PairedBatch
from slowfast.models.dropout import SeededDropout
from slowfast.models.ego_exo import EgoExoModel
from slowfast.tasks.terms.clips import as_classes, text_of
from slowfast.tasks.terms.peers import Meaning
from slowfast.utils import distributed

# Similarity of a row without a clip: below every cosine.
_NO_PAIR = -2.0


class ExoQueue:
    """The last Q exo clips of all processes, and their pairs; the same on every rank.

    Their embeddings come from a slow copy of the exo half that follows its weights:
    slow <- momentum * slow + (1 - momentum) * weights, after every applied step. The copy
    normalises by the statistics of its clips, as the exo half does in training.
    """

    def __init__(self, size: int, momentum: float) -> None:
        self._size = size
        self._momentum = momentum
        self._encoder: nn.ModuleList | None = None
        self._rows: dict[str, Tensor] = {}
        self._parts: list[dict[str, Tensor]] = []
        self._step = (-1, -1)
        # Weights from a checkpoint, for the encoder that the first forward pass creates.
        self._loaded: Mapping[str, Tensor] = {}

    @torch.no_grad()
    def embed(self, model: EgoExoModel, exo_clip: list[Tensor]) -> Tensor:
        """(N, D) embeddings of an exo clip by the slow copy, without gradients.

        The first call copies the exo half of the model.
        """
        if self._encoder is None:
            self._encoder = self._copied(model)
        exo, projection = self._encoder
        embedded: Tensor = projection(exo.features(exo_clip))  # type: ignore[operator]
        return embedded

    def remember(
        self, step: tuple[int, int], z: Tensor, similarity: Tensor, batch: PairedBatch
    ) -> None:
        """Add the exo clips of a part of a step; they join the queue when the step is applied.

        z: (N, D) their embeddings. similarity: (N,) of the narrations of each pair.
        """
        if step != self._step:
            self._parts.clear()
        self._step = step
        rows = {
            "z": z,
            "similarity": similarity,
            "labels": torch.cat([_as_columns(y) for y in batch.ego.labels], dim=1),
            "d_ego": text_of(batch.ego),
            "d_exo": text_of(batch.exo),
        }
        if batch.exo.ego_classes is not None:
            rows["ego_classes"] = torch.cat(batch.exo.ego_classes, dim=1)
        self._parts.append({name: tensor.detach() for name, tensor in rows.items()})

    @property
    def rows(self) -> dict[str, Tensor]:
        """Tensors of Q rows by name; empty before the first step.

        z (Q, D): embeddings. similarity (Q,): of the narrations of each pair, -2 for a row without
        a clip. labels (Q, ...): of the ego clips. ego_classes (Q, ...): of exo clips, if they have
        any. d_ego, d_exo (Q, D): narrations of each pair.
        """
        return self._rows

    def meaning(self, batch: PairedBatch) -> Meaning:
        """Labels and narrations of the queue's pairs, in the order of `meanings_of_pairs`."""
        texts = [self._rows["d_ego"], self._rows["d_exo"]]
        ego, exo = self._split("labels", batch.ego.labels), batch.exo.ego_classes
        if exo is None:
            return Meaning([ego], texts)
        classes = self._split("ego_classes", exo)
        return Meaning([ego, classes, as_classes(ego, classes)], texts)

    def _split(self, name: str, like: Sequence[Tensor]) -> list[Tensor]:
        """Rows per task, as `like`: (Q,) int64 or multi-hot (Q, K)."""
        widths = [_as_columns(y).shape[1] for y in like]
        columns = self._rows[name].split(widths, dim=1)
        return [x[:, 0] if y.ndim == 1 else x for x, y in zip(columns, like, strict=True)]

    @torch.no_grad()
    def finish_step(self, model: EgoExoModel, step_applied: Tensor) -> None:
        """step_applied: () bool on the device; False leaves copy and queue as they are."""
        self._follow(model, step_applied)
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

    def _copied(self, model: EgoExoModel) -> nn.ModuleList:
        exo_half = _exo_half(model)
        copies: dict[int, Any] = {}
        for module in exo_half.modules():
            if isinstance(module, SeededDropout):
                # Features do not pass through it, and its generator cannot be copied.
                copies[id(module)] = nn.Identity()
        # Fake tensors of the cost estimate cannot be copied, only cloned.
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

    def _follow(self, model: EgoExoModel, step_applied: Tensor) -> None:
        if self._encoder is None:
            return
        slow: list[Tensor] = list(self._encoder.parameters())
        weights: list[Tensor] = list(_exo_half(model).parameters())
        towards = torch._foreach_sub(weights, slow)
        torch._foreach_mul_(towards, (1.0 - self._momentum) * step_applied)
        torch._foreach_add_(slow, towards)


def _exo_half(model: EgoExoModel) -> nn.ModuleList:
    return nn.ModuleList([model.exo, model.exo_projection])


def _as_columns(labels: Tensor) -> Tensor:
    """(N,) -> (N, 1); (N, K) stays."""
    return labels if labels.ndim == 2 else labels[:, None]
