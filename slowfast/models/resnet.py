"""Residual stages: bottleneck blocks (arXiv 1512.03385), one chain of them per pathway.

Legend: N clips, C channels, T frames, H W positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from slowfast.models.convolution import Conv3d


@dataclass(frozen=True)
class BlockSpec:
    """The shape of one residual block.

    inner_channels: width of the bottleneck. stride, dilation: spatial, of the 1x3x3 convolution.
    """

    in_channels: int
    inner_channels: int
    out_channels: int
    temporal_kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    inplace_relu: bool = True


class Bottleneck(nn.Module):
    """Convolutions Tx1x1, 1x3x3, 1x1x1, each with its norm; ReLU after the first two."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        kernel, dilation = spec.temporal_kernel, spec.dilation
        self.a = Conv3d(
            spec.in_channels,
            spec.inner_channels,
            (kernel, 1, 1),
            padding=(kernel // 2, 0, 0),
            bias=False,
        )
        self.a_bn = nn.BatchNorm3d(spec.inner_channels)
        self.b = Conv3d(
            spec.inner_channels,
            spec.inner_channels,
            (1, 3, 3),
            stride=(1, spec.stride, spec.stride),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            groups=spec.groups,
            bias=False,
        )
        self.b_bn = nn.BatchNorm3d(spec.inner_channels)
        self.c = Conv3d(spec.inner_channels, spec.out_channels, 1, bias=False)
        self.c_bn = nn.BatchNorm3d(spec.out_channels)
        self.relu = nn.ReLU(spec.inplace_relu)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.a_bn(self.a(x)))
        x = self.relu(self.b_bn(self.b(x)))
        x = self.c_bn(self.c(x))
        return x


class ResBlock(nn.Module):
    """A bottleneck and its shortcut, which is projected where the shape changes."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self._projects = spec.in_channels != spec.out_channels or spec.stride != 1
        if self._projects:
            self.branch1 = Conv3d(
                spec.in_channels,
                spec.out_channels,
                1,
                stride=(1, spec.stride, spec.stride),
                bias=False,
            )
            self.branch1_bn = nn.BatchNorm3d(spec.out_channels)
        self.branch2 = Bottleneck(spec)
        self.relu = nn.ReLU(spec.inplace_relu)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_bn(self.branch1(x)) if self._projects else x
        x = self.relu(shortcut + self.branch2(x))
        return x


class ResStage(nn.Module):
    """A chain of residual blocks per pathway, slow first; blocks are named pathway<p>_res<i>."""

    def __init__(self, pathways: Sequence[Sequence[BlockSpec]]) -> None:
        super().__init__()
        self._chains: list[list[str]] = []
        for p, specs in enumerate(pathways):
            self._chains.append([f"pathway{p}_res{i}" for i in range(len(specs))])
            for name, spec in zip(self._chains[-1], specs, strict=True):
                self.add_module(name, ResBlock(spec))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        return [self._run(chain, x) for chain, x in zip(self._chains, features, strict=True)]

    def _run(self, chain: list[str], x: Tensor) -> Tensor:
        for name in chain:
            x = getattr(self, name)(x)
        return x
