"""A backbone and a head: recognition from one view.

Legend: N clips, T frames of the fast pathway, H W pixels, F pooled channels, L windows, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from slowfast.models.backbone import Backbone
from slowfast.models.heads import Head


class Recognizer(nn.Module):
    """[slow (N, 3, T/alpha, H, W), fast (N, 3, T, H, W)] -> [(N, K) per task].

    published_layers: names of the head's linear layers in published checkpoints, one per task
        (`headepic100.projections.0`).
    """

    def __init__(self, backbone: Backbone, head: Head, published_layers: Sequence[str]) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.published_layers = tuple(published_layers)
        self._autocast_to: torch.dtype | None = None

    def autocast_backbone(self, dtype: torch.dtype | None) -> None:
        """Run the backbone's matrix work in `dtype` (None: that of the weights).

        Pooling, head and everything after them stay in float32.
        """
        self._autocast_to = dtype

    def windows(self, clip: list[Tensor]) -> Tensor:
        """Pooled features (N, L, F), before dropout; L is 1 unless the head pools windows."""
        with self._autocast(clip[0].device):
            features = self.backbone(clip)
        return self.pool(features)

    def pool(self, features: list[Tensor]) -> Tensor:
        """Features of the backbone -> (N, L, F)."""
        return self.head.pool(features if self.head.probes else self.backbone.summary(features))

    def features(self, clip: list[Tensor]) -> Tensor:
        """Pooled features (N, F), before dropout: the mean over windows."""
        return self.windows(clip).mean(1)

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        return self.head.classify(self.windows(clip))

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        if self._autocast_to is None:
            return nullcontext()
        return torch.autocast(device.type, self._autocast_to)
