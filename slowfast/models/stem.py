"""The first stage: per pathway one convolution, norm, ReLU and a spatial max-pool.

Legend: N clips, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class PathwayStem(nn.Module):
    """(N, 3, T, H, W) -> (N, C, T, H/4, W/4); 7x7 in space, `temporal_kernel` in time."""

    def __init__(self, channels: int, temporal_kernel: int, inplace_relu: bool) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            3,
            channels,
            (temporal_kernel, 7, 7),
            stride=(1, 2, 2),
            padding=(temporal_kernel // 2, 3, 3),
            bias=False,
        )
        self.bn = nn.BatchNorm3d(channels)
        self.relu = nn.ReLU(inplace_relu)
        self.pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, clip: Tensor) -> Tensor:
        x: Tensor = self.pool(self.relu(self.bn(self.conv(clip))))
        return x


class Stem(nn.Module):
    """One `PathwayStem` per pathway, slow first."""

    def __init__(
        self, channels: Sequence[int], temporal_kernels: Sequence[int], inplace_relu: bool = True
    ) -> None:
        super().__init__()
        for pathway, (width, kernel) in enumerate(zip(channels, temporal_kernels, strict=True)):
            self.add_module(f"pathway{pathway}_stem", PathwayStem(width, kernel, inplace_relu))

    def forward(self, clip: list[Tensor]) -> list[Tensor]:
        return [stem(x) for stem, x in zip(self.children(), clip, strict=True)]
