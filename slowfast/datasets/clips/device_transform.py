"""From uint8 frames to model input: one batched step, the same code on CPU and GPU.

Legend: N clips, T frames of the fast pathway, A = T // alpha frames of the slow one, H W pixels,
S crop side, C = S + 1 side of the windows from which crops are resized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from slowfast.datasets.clips.sampling import slow_indices
from slowfast.datasets.types import ClipBatch


class DeviceTransform:
    """Transform that normalises frames, orders their channels and gathers the slow pathway.

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
        self._indices: dict[tuple[int, torch.device], Tensor] = {}
        # Stored channel of each channel at the model; frames are stored BGR.
        self.channels = (0, 1, 2) if channel_order == "bgr" else (2, 1, 0)

    def clips(self, batch: ClipBatch) -> list[Tensor]:
        """The batch's frames as model input; resizes them if the worker did not."""
        return self(batch.frames, batch.lighting, batch.resize, batch.crop_size)

    def __call__(
        self,
        frames: Tensor,
        lighting: Tensor | None = None,
        resize: Tensor | None = None,
        crop_size: int | None = None,
    ) -> list[Tensor]:
        """[slow (N, 3, A, H, W), fast (N, 3, T, H, W)] float32 on the frames' device.

        frames: (N, T, H, W, 3) uint8 BGR; with `resize`, windows (N, T, C, C, 3) or whole frames,
            and H = W = S.
        lighting: (N, 3), added to pixels in 0..1, in B, G, R order.
        resize: (N, 9) int64 as ClipBatch.resize.
        crop_size: S with `resize`; None: C - 1.
        """
        count, length, height, width, _ = frames.shape
        if resize is not None:
            height = width = height - 1 if crop_size is None else crop_size
            rows = _axis(resize[:, :4], height)
            columns = _axis(resize[:, 4:8], width).mirrored(resize[:, 8] == 1)
        fast = frames.new_empty((count, 3, length, height, width), dtype=torch.float32)
        for channel, stored in enumerate(self.channels):
            pixels = frames[..., stored]
            plane = fast[:, channel]
            plane.copy_(pixels if resize is None else _resized(pixels, rows, columns))
            shift = -self.mean[channel] / self.std[channel]
            plane.mul_(1 / (255 * self.std[channel])).add_(shift)
            if lighting is not None:
                plane.add_(lighting[:, stored, None, None, None] / self.std[channel])
        return [fast.index_select(2, self._slow_indices(length, fast.device)), fast]

    def _slow_indices(self, length: int, device: torch.device) -> Tensor:
        """Frame indices of the slow pathway, copied to a device once, since a copy blocks."""
        key = (length, device)
        if key not in self._indices:
            self._indices[key] = torch.from_numpy(slow_indices(length, self.alpha)).to(device)
        return self._indices[key]


class _Axis(NamedTuple):
    """Neighbouring window pixels and weights for each crop pixel, along one axis.

    low, high: (N, S) int64. weight: (N, S) float32, of `high`.
    """

    low: Tensor
    high: Tensor
    weight: Tensor

    def mirrored(self, clips: Tensor) -> _Axis:
        """The axis reversed for the clips that are True in (N,)."""
        return _Axis(*(torch.where(clips[:, None], part.flip(1), part) for part in self))


def _axis(resize: Tensor, size: int) -> _Axis:
    """Bilinear sampling with pixel centres at halves, with the arithmetic of the float pipeline.

    The float pipeline has a float32 scale and rounds to float32 once, after the multiplication
    and the addition.

    resize: (N, 4): source length, resized length, start of the crop, start of the window.
    """
    source, resized, start, window = resize[:, :, None].unbind(1)
    pixel = start + torch.arange(size, device=resize.device)
    scale = (source.float() / resized.float()).double()
    position = (scale * (pixel + 0.5) - 0.5).float().clamp(min=0)
    low = position.long()
    high = torch.minimum(low + 1, source - 1)
    return _Axis(low - window, high - window, position - low)


def _resized(pixels: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """Resize one channel of the windows (N, T, H, W) uint8 to the crops (N, T, S, S) float32."""
    count, length = pixels.shape[:2]
    clip = torch.arange(count, device=pixels.device)[:, None, None]
    frame = torch.arange(length, device=pixels.device)[None, :, None]
    upper, lower = (pixels[clip, frame, row[:, None]].float() for row in (rows.low, rows.high))
    lines = torch.lerp(upper, lower, rows.weight[:, None, :, None])
    shape = (*lines.shape[:3], columns.low.shape[1])
    left, right = (
        lines.gather(3, column[:, None, None].expand(shape))
        for column in (columns.low, columns.high)
    )
    return torch.lerp(left, right, columns.weight[:, None, None])
