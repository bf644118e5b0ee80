"""Lateral connection: fast features, subsampled in time, join the slow ones.

SlowFast Networks, arXiv 1812.03982, section 3.4 (time-strided convolution).
Legend: N clips, C slow and c fast channels, T frames of the fast pathway, H W positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slowfast.models.convolution import Conv3d


class FuseFastToSlow(nn.Module):
    """[slow (N, C, T/alpha, H, W), fast (N, c, T, H, W)] -> slow with ratio * c more channels."""

    def __init__(
        self,
        fast_channels: int,
        channel_ratio: int,
        kernel: int,
        alpha: int,
        inplace_relu: bool = True,
    ) -> None:
        super().__init__()
        self.conv_f2s = Conv3d(
            fast_channels,
            fast_channels * channel_ratio,
            (kernel, 1, 1),
            stride=(alpha, 1, 1),
            padding=(kernel // 2, 0, 0),
            bias=False,
        )
        self.bn = nn.BatchNorm3d(fast_channels * channel_ratio)
        self.relu = nn.ReLU(inplace_relu)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        slow, fast = features
        lateral = self.relu(self.bn(self.conv_f2s(fast)))
        return [torch.cat([slow, lateral], dim=1), fast]
