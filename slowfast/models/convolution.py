"""Convolutions over space or time alone, optionally computed as 2-D convolutions.

Legend: N clips, C channels, T frames, H W positions.
"""

from __future__ import annotations

from operator import gt

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """A 3-D convolution that can run as a 2-D one if it only spans space or time.

    Frames then join the batch, or H and W one axis: views, not copies, of a channels-last clip.
    Libraries have faster kernels for 2-D; the values differ by rounding.
    """

    as_2d = False

    def forward(self, x: Tensor) -> Tensor:
        if self.as_2d and self._leaves_alone(0):
            return self._over_space(x)
        if self.as_2d and self._leaves_alone(1) and self._leaves_alone(2):
            return self._over_time(x)
        if self._is_short_in_bf16(x):
            return self._of_padded(x)
        return super().forward(x)

    def _is_short_in_bf16(self, x: Tensor) -> bool:
        """torch 2.13 on a CPU with bf16 instructions: an input that is shorter than the kernel
        along an axis gets wrong weight gradients, and memory beyond them is written to."""
        if x.device.type != "cpu" or not any(map(gt, self.kernel_size, x.shape[2:])):
            return False
        return x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")

    def _of_padded(self, x: Tensor) -> Tensor:
        """The same values, with the input zero-padded beforehand."""
        assert not isinstance(self.padding, str)
        time, height, width = self.padding
        x = F.pad(x, (width, width, height, height, time, time))
        return F.conv3d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _leaves_alone(self, axis: int) -> bool:
        return (self.kernel_size[axis], self.stride[axis], self.padding[axis]) == (1, 1, 0)

    def _over_space(self, x: Tensor) -> Tensor:
        stride = self.stride[1:]
        if self.kernel_size[1:] == (1, 1) and self.padding[1:] == (0, 0):
            # torch 2.13 writes out of bounds in the backward pass of a strided 1x1 convolution of
            # a channels-last tensor on the CPU; the positions that it would skip are left out.
            x, stride = x[..., :: stride[0], :: stride[1]], (1, 1)
        y = F.conv2d(
            x.transpose(1, 2).flatten(0, 1),
            self.weight.squeeze(2),
            self.bias,
            stride,
            self.padding[1:],
            self.dilation[1:],
            self.groups,
        )
        return y.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)

    def _over_time(self, x: Tensor) -> Tensor:
        y = F.conv2d(
            x.flatten(3),
            self.weight.squeeze(4),
            self.bias,
            (self.stride[0], 1),
            (self.padding[0], 0),  # type: ignore[arg-type]
            (self.dilation[0], 1),
            self.groups,
        )
        return y.unflatten(3, x.shape[3:])


def use_2d_convolutions(model: nn.Module) -> None:
    """Run every `Conv3d` of the model as a 2-D convolution if it can."""
    for module in model.modules():
        if isinstance(module, Conv3d):
            module.as_2d = True
