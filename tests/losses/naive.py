"""The losses as double loops over Python sums, and random inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unit_rows(seed: int, count: int, width: int = 8, dtype=torch.float64) -> Tensor:
    """(count, width) random rows of norm 1, a leaf with gradient."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, generator=draw, dtype=torch.float64)
    return F.normalize(rows, dim=1).to(dtype).requires_grad_()


def naive_dcl(u: Tensor, v: Tensor, temperature: float, weight: Tensor | None = None) -> Tensor:
    """Equation of DCL(u -> v), for two rows or more."""
    total = torch.zeros((), dtype=u.dtype)
    for i in range(len(u)):
        negatives = torch.zeros((), dtype=u.dtype)
        for j in range(len(u)):
            if j != i:
                negatives = negatives + torch.exp(torch.dot(u[i], u[j]) / temperature)
                negatives = negatives + torch.exp(torch.dot(u[i], v[j]) / temperature)
        w = 1.0 if weight is None else weight[i]
        total = total - w * torch.dot(u[i], v[i]) / temperature + torch.log(negatives)
    return total / len(u)


def naive_alignment(
    z_ego: Tensor,
    z_exo: Tensor,
    d_ego: Tensor,
    d_exo: Tensor,
    temperature: float,
    threshold: float,
    sigma: float | None = None,
) -> Tensor:
    """L_a; with sigma the weighted form."""
    similarity = [float(torch.dot(a, b)) for a, b in zip(d_ego, d_exo, strict=True)]
    kept = [i for i, s in enumerate(similarity) if s > threshold]
    if len(kept) < 2:
        return torch.zeros((), dtype=z_ego.dtype)
    weight = None
    if sigma is not None:
        powers = [torch.exp(torch.tensor(similarity[i] / sigma, dtype=z_ego.dtype)) for i in kept]
        weight = torch.stack([len(kept) * power / sum(powers) for power in powers])
    u, v = z_ego[kept], z_exo[kept]
    return naive_dcl(u, v, temperature, weight) + naive_dcl(v, u, temperature, weight)


def gradients(value: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Of `value`; zeros where it does not depend on an input."""
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]
