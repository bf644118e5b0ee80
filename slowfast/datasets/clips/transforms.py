"""Spatial sampling of frames in the worker: short-side resize, crop, flip; PCA lighting.

Sizes and offsets follow the published code. Frames are (H, W, 3) uint8 BGR; H W are pixels of
the decoded frame, h w pixels after the resize, S the side of the crop.

A Cut is the part of a frame that the worker sends: the finished crop (FinishedCrop), or the window
of the decoded frame from which the device resizes the crop (SourceWindow).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Principal components of ImageNet's colours, as published: rows are channels in R, G, B order.
_EIGENVALUES = np.array([0.225, 0.224, 0.229])
_EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Crop of a resized frame.

    height, width: h, w.
    top, left: corner of the crop, pixels of the resized frame.
    size: S.
    flip: mirror the crop left to right.
    """

    height: int
    width: int
    top: int
    left: int
    size: int
    flip: bool = False


@dataclass(frozen=True)
class Geometry:
    """Sizes in pixels.

    jitter_scales: range of the short side in training; crop inside it.
    train_crop: S in training. test_crop: short side and S in validation and test.
    inverse_uniform: 1 / short side is drawn uniformly, not the short side.
    flip: half of the training clips are mirrored.
    """

    jitter_scales: tuple[int, int]
    train_crop: int
    test_crop: int
    inverse_uniform: bool = False
    flip: bool = True

    def __post_init__(self) -> None:
        if not self.train_crop <= self.jitter_scales[0] <= self.jitter_scales[1]:
            raise ValueError(
                f"jitter scales {self.jitter_scales} do not hold a crop of {self.train_crop}"
            )

    def train(self, height: int, width: int, rng: np.random.Generator) -> Placement:
        """A random short side, crop and flip for frames (H, W)."""
        short_side = draw_short_side(self.jitter_scales, self.inverse_uniform, rng)
        h, w = resized_size(height, width, short_side)
        return Placement(
            height=h,
            width=w,
            top=int(rng.integers(0, h - self.train_crop, endpoint=True)),
            left=int(rng.integers(0, w - self.train_crop, endpoint=True)),
            size=self.train_crop,
            flip=bool(rng.random() < 0.5) if self.flip else False,
        )

    def test(self, height: int, width: int, crop: int = 1) -> Placement:
        """Crop 0, 1 or 2 along the longer side (1: centre) for frames (H, W)."""
        size = self.test_crop
        h, w = resized_size(height, width, size)
        top = math.ceil((h - size) / 2)
        left = math.ceil((w - size) / 2)
        if crop != 1:
            if h > w:
                top = 0 if crop == 0 else h - size
            else:
                left = 0 if crop == 0 else w - size
        return Placement(height=h, width=w, top=top, left=left, size=size)


def draw_short_side(
    scales: tuple[int, int], inverse_uniform: bool, rng: np.random.Generator
) -> int:
    """A random short side in pixels from the closed range `scales`."""
    low, high = scales
    if inverse_uniform:
        return round(1 / rng.uniform(1 / high, 1 / low))
    return round(rng.uniform(low, high))


def resized_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(h, w) with the short side at the requested length; the long side is rounded down."""
    if min(height, width) == short_side:
        return height, width
    if width < height:
        return math.floor(height / width * short_side), short_side
    return short_side, math.floor(width / height * short_side)


def resize(frame: np.ndarray, height: int, width: int, out: np.ndarray) -> None:
    """Write the frame, resized bilinearly without antialiasing, into `out` (h, w, 3) uint8."""
    if frame.shape[:2] == (height, width):
        out[:] = frame
    else:
        cv2.resize(frame, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


def place(
    frame: np.ndarray, placement: Placement, out: np.ndarray, memory: np.ndarray | None = None
) -> np.ndarray:
    """Write the crop of the resized frame into `out` (S, S, 3) uint8.

    memory: result of an earlier call with the same placement; it is overwritten.

    Returns: the resized frame as far as the crop reaches.
    """
    p = placement
    resized = _resize_corner(frame, p, memory)
    crop = resized[p.top : p.top + p.size, p.left : p.left + p.size]
    if p.flip:
        cv2.flip(crop, 1, dst=out)
    else:
        out[:] = crop
    return resized


def _resize_corner(
    frame: np.ndarray, placement: Placement, memory: np.ndarray | None
) -> np.ndarray:
    """The resized frame's upper left corner, as far as the crop reaches.

    Pixels are those of the whole resized frame: with the factors given, OpenCV samples a cut
    frame at the same places.
    """
    height, width = frame.shape[:2]
    p = placement
    if (height, width) == (p.height, p.width):
        return frame
    rows = _source_length(p.top + p.size, height, p.height)
    columns = _source_length(p.left + p.size, width, p.width)
    corner: np.ndarray = cv2.resize(
        frame[:rows, :columns],
        None,
        dst=memory,
        fx=p.width / width,
        fy=p.height / height,
        interpolation=cv2.INTER_LINEAR,
    )
    return corner


def _source_length(stop: int, source: int, resized: int) -> int:
    """Number of source pixels that the first `stop` of `resized` pixels need, plus one spare."""
    return min(source, math.ceil((stop + 0.5) * source / resized) + 2)


class Cut(Protocol):
    """The worker's part of the spatial transform, applied to every frame of a clip.

    side: side of its output, pixels. resize: as ClipSample.resize.
    """

    side: int
    resize: Tensor | None

    def write(self, frame: np.ndarray, out: np.ndarray) -> None:
        """Write the frame's part into `out` (side, side, 3) uint8."""
        ...


class FinishedCrop:
    """The crop, resized in uint8: within 1.0 grey level of the float pipeline."""

    resize: Tensor | None = None

    def __init__(self, placement: Placement) -> None:
        self.side = placement.size
        self._placement = placement
        self._resized: np.ndarray | None = None

    def write(self, frame: np.ndarray, out: np.ndarray) -> None:
        self._resized = place(frame, self._placement, out, self._resized)


class SourceWindow:
    """The pixels of the decoded frame that the crop is sampled from; the device resizes them.

    If a frame grows or keeps its size, S pixels of the crop are sampled from at most S + 1
    of the decoded frame. A frame that shrinks is cropped and resized here, in uint8, so the
    worker never sends more than S + 1 by S + 1 pixels. Pixels outside the frame are zero.
    """

    def __init__(self, height: int, width: int, placement: Placement) -> None:
        self.side = placement.size + 1
        self._shrunk: FinishedCrop | None = None
        if placement.height < height or placement.width < width:
            self._shrunk = FinishedCrop(placement)
            size = placement.size
            height, width, placement = size, size, Placement(size, size, 0, 0, size)
        p = placement
        self._top = _window_start(height, p.height, p.top, self.side)
        self._left = _window_start(width, p.width, p.left, self.side)
        self._rows = min(self.side, height)
        self._columns = min(self.side, width)
        vertical = (height, p.height, p.top, self._top)
        horizontal = (width, p.width, p.left, self._left)
        self.resize: Tensor | None = torch.tensor([*vertical, *horizontal, int(p.flip)])

    def write(self, frame: np.ndarray, out: np.ndarray) -> None:
        rows, columns = self._rows, self._columns
        if self._shrunk is not None:
            self._shrunk.write(frame, out[:rows, :columns])
        else:
            top, left = self._top, self._left
            out[:rows, :columns] = frame[top : top + rows, left : left + columns]
        if rows < self.side:
            out[rows:] = 0
        if columns < self.side:
            out[:rows, columns:] = 0


def _window_start(source: int, resized: int, start: int, side: int) -> int:
    """First source pixel of the window: where the crop starts, or earlier to stay in the frame.

    Uses the arithmetic of the device's resize, so that both agree on the pixel.
    """
    scale = float(np.float32(source) / np.float32(resized))
    position = np.float32(scale * (start + 0.5) - 0.5)
    return max(min(int(position), source - side), 0)


def place_float(frames: Tensor, placement: Placement) -> Tensor:
    """The crop without rounding: the published pipeline, (T, H, W, 3) uint8 -> (T, S, S, 3).

    Values are float32 in 0..255.
    """
    p = placement
    pixels = frames.permute(0, 3, 1, 2).float()
    if pixels.shape[2:] != (p.height, p.width):
        size = (p.height, p.width)
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    crop = pixels[:, :, p.top : p.top + p.size, p.left : p.left + p.size]
    crop = crop.flip(3) if p.flip else crop
    return crop.permute(0, 2, 3, 1)


def draw_lighting(std: float, rng: np.random.Generator) -> Tensor:
    """A random PCA lighting (3,) float32 for pixels in 0..1, in B, G, R order."""
    return lighting_shift(rng.normal(0.0, std, size=3))


def lighting_shift(alpha: np.ndarray) -> Tensor:
    """The shift (3,) float32 in B, G, R order for component strengths `alpha` (3,)."""
    red_green_blue = _EIGENVECTORS @ (alpha * _EIGENVALUES)
    return torch.from_numpy(red_green_blue[::-1].astype(np.float32))
