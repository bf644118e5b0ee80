"""Classification head on the features of all pathways.

Legend: N clips, C channels of a pathway, T frames, H W positions, F channels of all pathways,
L windows, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.models.dropout import SeededDropout

ACTIVATIONS = {"softmax": lambda logits: logits.softmax(-1), "sigmoid": torch.sigmoid}


class Head(nn.Module):
    """Features [(N, C, T, H, W) per pathway] -> [(N, K) per task].

    Training gives logits; eval gives their `activation`, or the logits with `no_act`.

    num_classes: K of each task.
    probe_channels: C of every pathway for attentive pooling (`AttentivePool`); empty: averages.
    window: side of the pooling windows, in positions of the feature map; None pools all of time
        and space. Every window is pooled over all of time and classified (a smaller map is one
        window). The mean over windows is taken last: of probabilities in eval, of logits in
        training and with `no_act`. This is the fully convolutional test of PySlowFast.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: Sequence[int],
        *,
        dropout_rate: float = 0.0,
        activation: str = "softmax",
        no_act: bool = False,
        window: int | None = None,
        probe_channels: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.probes = nn.ModuleList(AttentivePool(channels) for channels in probe_channels)
        self.dropout = SeededDropout(dropout_rate)
        self.projections = nn.ModuleList(nn.Linear(in_channels, k) for k in num_classes)
        self._activation = ACTIVATIONS[activation]
        self._no_act = no_act
        self._window = window

    def pool(self, features: list[Tensor]) -> Tensor:
        """Averages of the windows, (N, L, F), in float32 even if the features have half precision.

        L is 1 if one window covers the clip, and for attentive pooling.
        """
        dtype = torch.promote_types(features[0].dtype, torch.float32)
        if self.probes:
            pooled = [probe(x.to(dtype)) for probe, x in zip(self.probes, features, strict=True)]
            return torch.cat(pooled, dim=1)[:, None]
        if self._window is None:
            return torch.cat([x.mean((2, 3, 4), dtype=dtype) for x in features], dim=1)[:, None]
        return torch.cat([_pool_windows(x.to(dtype), self._window) for x in features], dim=2)

    def classify(self, pooled: Tensor) -> list[Tensor]:
        """(N, L, F) -> [(N, K) per task]."""
        pooled = self.dropout(pooled)
        scores = [projection(pooled) for projection in self.projections]
        if not self.training and not self._no_act:
            scores = [self._activation(x) for x in scores]
        return [x.mean(1) for x in scores]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return self.classify(self.pool(features))


class AttentivePool(nn.Module):
    """One learned query attends to all positions: (N, C, T, H, W) -> (N, C).

    A cross-attention block and an MLP, both residual, as in the attentive probe of V-JEPA
    (arXiv 2404.08471, section 4.1 and appendix). Positions are tokens, without an order.
    """

    def __init__(self, channels: int, head_width: int = 64, mlp_ratio: int = 4) -> None:
        """head_width: channels of an attention head, at most; it divides `channels`."""
        super().__init__()
        heads = next(h for h in range(max(1, channels // head_width), 0, -1) if channels % h == 0)
        self.query = nn.Parameter(torch.randn(1, 1, channels) * 0.02)
        self.token_norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, mlp_ratio * channels),
            nn.GELU(),
            nn.Linear(mlp_ratio * channels, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        tokens = self.token_norm(features.flatten(2).transpose(1, 2))
        query = self.query.expand(len(tokens), -1, -1)
        attended, _ = self.attention(query, tokens, tokens, need_weights=False)
        pooled = query + attended
        pooled = pooled + self.mlp(self.mlp_norm(pooled))
        return pooled[:, 0]


def _pool_windows(x: Tensor, size: int) -> Tensor:
    """(N, C, T, H, W) -> (N, L, C), windows in row order, one position apart."""
    frames, height, width = x.shape[2:]
    kernel = (frames, min(size, height), min(size, width))
    return F.avg_pool3d(x, kernel, stride=1).flatten(2).transpose(1, 2)
