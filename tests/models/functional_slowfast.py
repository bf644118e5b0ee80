"""SlowFast in eval mode as a plain function of its published weights, for comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    shape = (1, -1, 1, 1, 1)
    x = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + 1e-5)
    return x * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def conv(
    w: Weights, name: str, x: Tensor, stride=(1, 1, 1), dilation: int = 1, groups: int = 1
) -> Tensor:
    """Convolution that keeps the size except for its stride, as its kernel's shape says."""
    weight = w[f"{name}.weight"]
    time, height, width = weight.shape[2:]
    padding = (time // 2, dilation * (height // 2), dilation * (width // 2))
    return F.conv3d(x, weight, None, stride, padding, (1, dilation, dilation), groups)


def block(w: Weights, name: str, x: Tensor, stride: int, dilation: int, groups: int) -> Tensor:
    spatial = (1, stride, stride)
    y = torch.relu(norm(w, f"{name}.branch2.a_bn", conv(w, f"{name}.branch2.a", x)))
    y = conv(w, f"{name}.branch2.b", y, spatial, dilation, groups)
    y = torch.relu(norm(w, f"{name}.branch2.b_bn", y))
    y = norm(w, f"{name}.branch2.c_bn", conv(w, f"{name}.branch2.c", y))
    if f"{name}.branch1.weight" in w:
        x = norm(w, f"{name}.branch1_bn", conv(w, f"{name}.branch1", x, spatial))
    return torch.relu(x + y)


def slowfast(
    w: Weights,
    clip: list[Tensor],
    alpha: int = 4,
    strides=(1, 2, 2, 2),
    dilations=(1, 1, 1, 1),
    groups: int = 1,
) -> list[Tensor]:
    """[slow, fast] features after s5; strides and dilations are of s2..s5, both pathways."""
    features = []
    for p, x in enumerate(clip):
        stem = f"s1.pathway{p}_stem"
        x = torch.relu(norm(w, f"{stem}.bn", conv(w, f"{stem}.conv", x, (1, 2, 2))))
        features.append(F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1)))
    for stage, (stride, dilation) in enumerate(zip(strides, dilations, strict=True), start=2):
        fuse = f"s{stage - 1}_fuse"
        lateral = conv(w, f"{fuse}.conv_f2s", features[1], (alpha, 1, 1))
        features[0] = torch.cat([features[0], torch.relu(norm(w, f"{fuse}.bn", lateral))], 1)
        for p in (0, 1):
            index = 0
            while f"s{stage}.pathway{p}_res{index}.branch2.a.weight" in w:
                name = f"s{stage}.pathway{p}_res{index}"
                step = stride if index == 0 else 1
                features[p] = block(w, name, features[p], step, dilation, groups)
                index += 1
    return features
