"""The losses as double loops over Python sums, and random inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor


def unit_rows(seed: int, count: int, width: int = 8, dtype=torch.float64) -> Tensor:
    """(count, width) random rows of norm 1, a leaf with gradient."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, generator=draw, dtype=torch.float64)
    return F.normalize(rows, dim=1).to(dtype).requires_grad_()


def naive_dcl(
    u: Tensor,
    v: Tensor,
    temperature: float,
    weight: Tensor | None = None,
    related: Callable[[int, int], bool] = lambda i, j: False,
    join_related: bool = False,
    within: bool = True,
    extra: Callable[[int], Iterable[Tensor]] = lambda i: (),
) -> Tensor:
    """Equation of DCL(u -> v); an anchor without negatives is zero. extra: of an anchor, (D,)."""
    total = torch.zeros((), dtype=u.dtype)
    for i in range(len(u)):
        positives = torch.exp(torch.dot(u[i], v[i]) / temperature)
        negatives = torch.zeros((), dtype=u.dtype)
        for j in range(len(u)):
            if j == i:
                continue
            if not related(i, j):
                if within:
                    negatives = negatives + torch.exp(torch.dot(u[i], u[j]) / temperature)
                negatives = negatives + torch.exp(torch.dot(u[i], v[j]) / temperature)
            elif join_related:
                positives = positives + torch.exp(torch.dot(u[i], v[j]) / temperature)
        for row in extra(i):
            negatives = negatives + torch.exp(torch.dot(u[i], row) / temperature)
        w = 1.0 if weight is None else weight[i]
        if negatives > 0:
            total = total - w * torch.log(positives) + torch.log(negatives)
    return total / len(u)


def naive_alignment(
    z_ego: Tensor,
    z_exo: Tensor,
    d_ego: Tensor,
    d_exo: Tensor,
    temperature: float,
    threshold: float,
    sigma: float | None = None,
    related: Callable[[int, int], bool] = lambda i, j: False,
    join_related: bool = False,
) -> Tensor:
    """L_a; with sigma the weighted form. related: of two rows of the whole batch."""
    similarity = [float(torch.dot(a, b)) for a, b in zip(d_ego, d_exo, strict=True)]
    kept = [i for i, s in enumerate(similarity) if s > threshold]
    if len(kept) < 2:
        return torch.zeros((), dtype=z_ego.dtype)
    weight = None
    if sigma is not None:
        powers = [torch.exp(torch.tensor(similarity[i] / sigma, dtype=z_ego.dtype)) for i in kept]
        weight = torch.stack([len(kept) * power / sum(powers) for power in powers])
    u, v = z_ego[kept], z_exo[kept]

    def kept_related(i: int, j: int) -> bool:
        return related(kept[i], kept[j])

    there = naive_dcl(u, v, temperature, weight, kept_related, join_related)
    return there + naive_dcl(v, u, temperature, weight, kept_related, join_related)


def naive_soft_alignment(
    z_ego: Tensor,
    z_exo: Tensor,
    relevance: Callable[[int, int], float],
    temperature: float,
    sigma: float,
) -> Tensor:
    """L_a with soft targets. relevance: of ego clip i and exo clip j."""
    count = len(z_ego)
    total = torch.zeros((), dtype=z_ego.dtype)
    for i in range(count):
        for u, v, s in (
            (z_ego, z_exo, [relevance(i, j) for j in range(count)]),
            (z_exo, z_ego, [relevance(j, i) for j in range(count)]),
        ):
            targets = [math.exp(value / sigma) for value in s]
            powers = [torch.exp(torch.dot(u[i], v[j]) / temperature) for j in range(count)]
            for j in range(count):
                total = total - targets[j] / sum(targets) * torch.log(powers[j] / sum(powers))
    return total / count


def gradients(value: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Of `value`; zeros where it does not depend on an input."""
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]
