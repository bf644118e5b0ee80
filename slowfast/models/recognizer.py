"""A backbone and a head: recognition from one view."""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.models.heads import Head
from slowfast.models.slowfast import SlowFastBackbone


class Recognizer(nn.Module):
    """[slow (N, 3, T/alpha, H, W), fast (N, 3, T, H, W)] -> [(N, K) per task].

    published_head: the head's module name in published checkpoints.
    """

    def __init__(self, backbone: SlowFastBackbone, head: Head, published_head: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.published_head = published_head

    def pooled(self, clip: list[Tensor]) -> Tensor:
        """(N, L, F): L = 1 unless the head pools windows."""
        return self.head.pool(self.backbone(clip))

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        return self.head.classify(self.pooled(clip))
