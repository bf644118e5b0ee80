"""From uint8 frames to what the model takes: one batched step, the same code on CPU and GPU.

Legend: N clips, T frames of the fast pathway, A = T // alpha frames of the slow one, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast.datasets.clip_sampling import slow_indices


class DeviceTransform:
    """Normalises frames, orders their channels and gathers the slow pathway.

    mean, std: of pixels in 0..1, per channel, in the order of the channels at the model.
    channel_order: of the channels at the model, bgr or rgb.
    alpha: frame-rate ratio of the fast to the slow pathway.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], channel_order: str, alpha: int
    ) -> None:
        if channel_order not in ("bgr", "rgb"):
            raise ValueError(f"channel_order is {channel_order!r}, not bgr or rgb")
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.alpha = alpha
        # Stored channel of each channel at the model; frames are stored BGR.
        self.channels = (0, 1, 2) if channel_order == "bgr" else (2, 1, 0)

    def __call__(self, frames: Tensor, lighting: Tensor | None = None) -> list[Tensor]:
        """[slow (N, 3, A, H, W), fast (N, 3, T, H, W)] float32 on the frames' device.

        frames: (N, T, H, W, 3) uint8 BGR.
        lighting: (N, 3), added to pixels in 0..1, in B, G, R order.
        """
        count, length, height, width, _ = frames.shape
        fast = frames.new_empty((count, 3, length, height, width), dtype=torch.float32)
        for channel, stored in enumerate(self.channels):
            plane = fast[:, channel].copy_(frames[..., stored])
            shift = -self.mean[channel] / self.std[channel]
            plane.mul_(1 / (255 * self.std[channel])).add_(shift)
            if lighting is not None:
                plane.add_(lighting[:, stored, None, None, None] / self.std[channel])
        indices = torch.from_numpy(slow_indices(length, self.alpha)).to(fast.device)
        return [fast.index_select(2, indices), fast]
