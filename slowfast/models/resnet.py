"""Residual stages: bottleneck blocks, one chain per pathway.

Legend: N clips, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """T x 1 x 1, 1 x 3 x 3, 1 x 1 x 1 convolutions, each with its norm; ReLU between."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        inner_channels: int,
        temporal_kernel: int,
        stride: int,
        groups: int,
        dilation: int,
    ) -> None:
        super().__init__()
        self.a = nn.Conv3d(
            in_channels,
            inner_channels,
            (temporal_kernel, 1, 1),
            padding=(temporal_kernel // 2, 0, 0),
            bias=False,
        )
        self.a_bn = nn.BatchNorm3d(inner_channels)
        self.b = nn.Conv3d(
            inner_channels,
            inner_channels,
            (1, 3, 3),
            stride=(1, stride, stride),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            groups=groups,
            bias=False,
        )
        self.b_bn = nn.BatchNorm3d(inner_channels)
        self.c = nn.Conv3d(inner_channels, out_channels, 1, bias=False)
        self.c_bn = nn.BatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a_bn(self.a(x)), inplace=True)
        x = F.relu(self.b_bn(self.b(x)), inplace=True)
        return self.c_bn(self.c(x))


class ResBlock(nn.Module):
    """A bottleneck and its shortcut, projected where the shape changes."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        inner_channels: int,
        temporal_kernel: int,
        stride: int,
        groups: int,
        dilation: int,
    ) -> None:
        super().__init__()
        self.branch1: nn.Module | None = None
        if in_channels != out_channels or stride != 1:
            self.branch1 = nn.Conv3d(
                in_channels, out_channels, 1, stride=(1, stride, stride), bias=False
            )
            self.branch1_bn = nn.BatchNorm3d(out_channels)
        self.branch2 = Bottleneck(
            in_channels, out_channels, inner_channels, temporal_kernel, stride, groups, dilation
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.branch1 is None else self.branch1_bn(self.branch1(x))
        return F.relu(shortcut + self.branch2(x), inplace=True)


@dataclass(frozen=True)
class PathwaySpec:
    """One pathway of one stage.

    temporal_blocks: the first so many blocks have `temporal_kernel`, the others 1.
    """

    in_channels: int
    out_channels: int
    inner_channels: int
    temporal_kernel: int
    temporal_blocks: int
    stride: int
    dilation: int


class ResStage(nn.Module):
    """`num_blocks` residual blocks per pathway; blocks are named pathway<p>_res<i>."""

    def __init__(self, num_blocks: int, groups: int, pathways: Sequence[PathwaySpec]) -> None:
        super().__init__()
        self._num_blocks = num_blocks
        for pathway, spec in enumerate(pathways):
            for block in range(num_blocks):
                self.add_module(
                    f"pathway{pathway}_res{block}",
                    ResBlock(
                        spec.in_channels if block == 0 else spec.out_channels,
                        spec.out_channels,
                        spec.inner_channels,
                        spec.temporal_kernel if block < spec.temporal_blocks else 1,
                        spec.stride if block == 0 else 1,
                        groups,
                        spec.dilation,
                    ),
                )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [self._pathway(p, x) for p, x in enumerate(features)]

    def _pathway(self, pathway: int, x: Tensor) -> Tensor:
        for block in range(self._num_blocks):
            x = self.get_submodule(f"pathway{pathway}_res{block}")(x)
        return x
