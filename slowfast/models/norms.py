"""Conversion of batch norms, protection of their statistics, folding into convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from slowfast.utils import distributed


class FrozenBatchNorm3d(nn.BatchNorm3d):
    """Normalises by the running statistics, in training too, and never changes them.

    Scale and shift are trained.
    """

    def train(self, mode: bool = True) -> FrozenBatchNorm3d:
        super().train(False)
        return self


class CpuSyncBatchNorm3d(nn.BatchNorm3d):
    """Normalises in training by the statistics of the clips of all processes, on the CPU.

    nn.SyncBatchNorm does so on CUDA alone. Every process has equally many clips.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W), normalised per channel."""
        if not self.training:
            normalised: Tensor = super().forward(x)
            return normalised
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(values, (0, 2, 3, 4), correction=0)
        means, variances = distributed.all_gather(torch.stack([mean, var])[None]).unbind(1)
        mean, var = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        count = len(means) * values.numel() // self.num_features
        self._follow(mean.detach(), var.detach() * count / max(count - 1, 1))
        scale = self.weight * (var + self.eps).rsqrt()
        y = (values - _per_channel(mean)) * _per_channel(scale) + _per_channel(self.bias)
        return y.to(x.dtype)

    def _follow(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var, self.momentum)


def _per_channel(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def convert_norms(model: nn.Module, kind: str, *, on_cpu: bool = False) -> None:
    """Convert every batch norm of the model to `kind`, with the same weights and statistics.

    kind: batchnorm (left as they are), sync_batchnorm (statistics of the clips of all processes),
        frozen. on_cpu: the model will be trained there.
    """
    if kind == "batchnorm":
        return
    if kind == "sync_batchnorm":
        new: type[_BatchNorm] = CpuSyncBatchNorm3d if on_cpu else nn.SyncBatchNorm
    else:
        new = FrozenBatchNorm3d
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm3d:
                setattr(parent, name, _converted(child, new))


def _converted(norm: nn.BatchNorm3d, kind: type[_BatchNorm]) -> nn.Module:
    new = kind(norm.num_features, norm.eps, norm.momentum)
    # Reuse the tensors, so that references to them stay valid.
    new._parameters, new._buffers = norm._parameters, norm._buffers
    new.train(norm.training)
    return new


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Context manager in which training-mode passes do not change the running statistics."""
    norms = _training_norms(model)
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        count = norm.num_batches_tracked
        # Discarded later: SyncBatchNorm requires a counter.
        norm.momentum, norm.num_batches_tracked = 0.0, None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count


def fold_batch_norms(model: nn.Module) -> int:
    """Fold batch norms in eval mode into the convolutions that feed them; returns their number.

    A batch norm is fed by the convolution right before it among its siblings. Only for
    evaluation: the model has other parameters then, and its scores differ by rounding.
    """
    folded = 0
    for parent in list(model.modules()):
        for (name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, nn.Conv3d) and isinstance(norm, _BatchNorm):
                setattr(parent, name, _folded(conv, norm))
                setattr(parent, norm_name, nn.Identity())
                folded += 1
    return folded


def _folded(conv: nn.Conv3d, norm: _BatchNorm) -> nn.Conv3d:
    """Fold in float64, so that each weight is rounded once."""
    dtype, layout = conv.weight.dtype, torch.channels_last_3d
    channels_last = conv.weight.is_contiguous(memory_format=layout)
    fused = fuse_conv_bn_eval(conv.double(), norm.double()).to(dtype)
    if channels_last:
        fused.to(memory_format=layout)  # type: ignore[call-overload]
    return fused


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Running means and variances of the batch norms in training mode."""
    pairs = [x for norm in _training_norms(model) for x in (norm.running_mean, norm.running_var)]
    return [x for x in pairs if x is not None]


def _training_norms(model: nn.Module) -> list[_BatchNorm]:
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]


class RunningStatistics:
    """Running statistics over several forward passes that are parts of one step."""

    def __init__(self, model: nn.Module) -> None:
        """Remember the current statistics of the batch norms in training mode."""
        self._values = running_statistics(model)
        counts = [norm.num_batches_tracked for norm in _training_norms(model)]
        self._counts = [x for x in counts if x is not None]
        self._kept = [x.clone() for x in self._values]
        self._kept_counts = [x.clone() for x in self._counts]
        self._total: list[Tensor] | None = None
        self._passes = 0

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the statistics remembered by the constructor."""
        # Separate, because lists of mixed types are copied one by one.
        for tensors, kept in ((self._values, self._kept), (self._counts, self._kept_counts)):
            if tensors:
                torch._foreach_copy_(tensors, kept)

    @torch.no_grad()
    def take_pass(self) -> None:
        """Remember the change made by the latest pass, and undo it.

        Call it after the backward pass, which reads them.
        """
        if self._values:
            if self._total is None:
                self._total = [x.clone() for x in self._values]
            else:
                torch._foreach_add_(self._total, self._values)
        self._passes += 1
        self.restore()

    @torch.no_grad()
    def put_mean(self) -> None:
        """Apply the mean change of all passes as one update; one pass is reproduced exactly."""
        if self._total is not None:
            torch._foreach_div_(self._total, self._passes)
            torch._foreach_copy_(self._values, self._total)
            torch._foreach_add_(self._counts, 1)
