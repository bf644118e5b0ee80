"""Classification heads on the features of both pathways.

Legend: N clips, C channels of a pathway, T frames, H W positions, F = C of all pathways, L windows,
K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.models.dropout import SeededDropout

ACTIVATIONS = {"softmax": lambda x: x.softmax(-1), "sigmoid": torch.sigmoid}


class Head(nn.Module):
    """Features [(N, C, T, H, W) per pathway] -> scores [(N, K) per task].

    Training gives logits; eval gives the activation of them, or logits with `no_act`.

    window: None pools all of time and space. A number pools windows of so many positions a side;
        each window is classified, and the scores are averaged after the activation.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: Sequence[int],
        dropout_rate: float,
        activation: str,
        no_act: bool,
        window: int | None,
    ) -> None:
        super().__init__()
        self.dropout = SeededDropout(dropout_rate)
        self._activation = ACTIVATIONS[activation]
        self._no_act = no_act
        self._window = window
        self._build(in_channels, num_classes)

    def _build(self, in_channels: int, num_classes: Sequence[int]) -> None:
        self.projections = nn.ModuleList(nn.Linear(in_channels, k) for k in num_classes)

    def layers(self) -> list[nn.Linear]:
        return list(self.projections)  # type: ignore[arg-type]

    def pool(self, features: list[Tensor]) -> Tensor:
        """(N, L, F); L = 1 where the whole clip is one window."""
        if self._window is None:
            return torch.cat([x.mean((2, 3, 4)) for x in features], dim=1)[:, None]
        size = self._window
        pooled = [
            F.avg_pool3d(x, (x.shape[2], min(size, x.shape[3]), min(size, x.shape[4])), stride=1)
            for x in features
        ]
        return torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)

    def classify(self, pooled: Tensor) -> list[Tensor]:
        """Scores of pooled features (N, L, F)."""
        dropped = self.dropout(pooled)
        scores = [layer(dropped) for layer in self.layers()]
        if not self.training and not self._no_act:
            scores = [self._activation(x) for x in scores]
        return [x.mean(1) for x in scores]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return self.classify(self.pool(features))


class SingleHead(Head):
    """A head of one task, under the published name `projection`."""

    def _build(self, in_channels: int, num_classes: Sequence[int]) -> None:
        (classes,) = num_classes
        self.projection = nn.Linear(in_channels, classes)

    def layers(self) -> list[nn.Linear]:
        return [self.projection]
