"""Grad-CAM (arXiv 1610.02391) on every pathway of a recogniser.

Legend: N clips, C channels, T H W frames and pixels of the input, t h w of the last feature map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast.models.recognizer import Recognizer


def grad_cam(model: Recognizer, clip: list[Tensor], head: int, classes: Tensor) -> list[Tensor]:
    """The map of one class per clip, on each pathway: [(N, T, H, W) float32 in 0..1].

    A channel is weighted by the mean gradient of the class's logit over its positions (equation 1);
    the weighted sum keeps its positive part (equation 2). It is resized trilinearly to the
    pathway's input and divided by its largest value, except where that is 0.

    model: in eval mode. clip: one tensor (N, 3, T, H, W) per pathway. head: position of the head.
    classes: (N,) int64.
    """
    with torch.no_grad():
        features = model.backbone(clip)
    with torch.enable_grad():
        features = [feature.detach().requires_grad_() for feature in features]
        pooled = model.pool(features).mean(1)
        logits = model.head.projections[head](pooled)
        chosen = logits.gather(1, classes.to(logits.device)[:, None])
        gradients = torch.autograd.grad(chosen.sum(), features)
    maps = [
        F.relu((gradient.mean((2, 3, 4), keepdim=True) * feature).sum(1, keepdim=True))
        for gradient, feature in zip(gradients, features, strict=True)
    ]
    return [_resized(cam.detach(), x) for cam, x in zip(maps, clip, strict=True)]


def _resized(cam: Tensor, pathway: Tensor) -> Tensor:
    """(N, 1, t, h, w) at the size of the pathway's input (N, 3, T, H, W), scaled to 0..1."""
    size = pathway.shape[2:]
    cam = F.interpolate(cam.float(), size=size, mode="trilinear", align_corners=False)[:, 0]
    largest = cam.amax((1, 2, 3), keepdim=True)
    return cam / torch.where(largest > 0, largest, 1)
