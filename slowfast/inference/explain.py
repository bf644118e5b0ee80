"""Filmstrips of the frames of a clip with the Grad-CAM maps of a recogniser over them.

Legend: T frames, H W pixels of a crop.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import FrameStore, Segment
from slowfast.inference.grad_cam import grad_cam
from slowfast.inference.loaded_model import LoadedModel
from slowfast.inference.sliding import VideoPrediction
from slowfast.inference.video_source import VideoSource
from slowfast.models.recognizer import Recognizer
from slowfast.utils.errors import UserError

_FRAMES = 8
_MAP_SHARE = 0.45


class Explained(NamedTuple):
    """One row of a filmstrip.

    title: what is shown. frames: (T, H, W, 3) uint8 RGB. cam: (T, H, W) float32 in 0..1.
    """

    title: str
    frames: np.ndarray
    cam: np.ndarray


def explain_clip(
    loaded: LoadedModel, clip: list[Tensor], frames: np.ndarray, classes: Sequence[int]
) -> list[Explained]:
    """Per head, the map of one class on the slow and on the fast pathway.

    clip: the model's input of one clip. frames: (T, H, W, 3) uint8 RGB, its crop before
    normalisation. classes: one id per head.

    Raises: UserError for a model that is not a backbone under a head.
    """
    model = loaded.model
    if not isinstance(model, Recognizer):
        raise UserError("Grad-CAM needs a backbone under a head (a model of classes, no prompts)")
    rows = []
    for k, (head, class_id) in enumerate(zip(loaded.heads, classes, strict=True)):
        cams = grad_cam(model, clip, k, torch.tensor([class_id]))
        for pathway, cam in enumerate(cams):
            where = "" if len(cams) == 1 else ("slow", "fast")[pathway]
            length = cam.shape[1]
            picked = np.linspace(0, len(frames) - 1, length).round().astype(int)
            name = loaded.names[head.name][class_id]
            rows.append(
                Explained(f"{head.name} {name}\n{where}", frames[picked], cam[0].cpu().numpy())
            )
    return rows


def filmstrip(rows: Sequence[Explained]) -> bytes:
    """A PNG: one row each, at most 8 frames, evenly spread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * _FRAMES + 1.4, 1.35 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), _FRAMES, squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        picked = np.unique(np.linspace(0, len(row.frames) - 1, _FRAMES).round().astype(int))
        for axis in axes:
            axis.axis("off")
        for axis, frame in zip(axes, picked, strict=False):
            axis.imshow(blended(row.frames[frame], row.cam[frame]))
        axes[0].text(
            -0.08, 0.5, row.title, transform=axes[0].transAxes, ha="right", va="center", fontsize=9
        )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    return picture.getvalue()


def blended(frame: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB with the map (H, W) in 0..1 as colours over it."""
    colours = cv2.applyColorMap((cam * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed = (1 - _MAP_SHARE) * frame + _MAP_SHARE * colours
    return mixed.round().astype(np.uint8)


def explain_video(
    loaded: LoadedModel, source: VideoSource, prediction: VideoPrediction, windows: int = 3
) -> list[Explained]:
    """The rows of some windows, evenly spread over the video, for their best classes."""
    picked = np.linspace(0, len(prediction) - 1, min(windows, len(prediction))).round().astype(int)
    rows = []
    for window in picked:
        start = float(prediction.starts[window])
        first = source.first_frame + round(start * source.fps)
        length = round(prediction.window_sec * source.fps)
        clip, frames = _clip(loaded, source.segment(first, length, loaded.heads), source.store)
        classes = [int(prediction.scores[head.name][window].argmax()) for head in loaded.heads]
        for row in explain_clip(loaded, clip, frames, classes):
            rows.append(row._replace(title=f"{start:.1f} s\n{row.title}"))
    return rows


def _clip(
    loaded: LoadedModel, segment: Segment, store: FrameStore
) -> tuple[list[Tensor], np.ndarray]:
    """The model's input for a segment, and its crops (T, S, S, 3) uint8 RGB."""
    settings = loaded.transform.settings
    sample = SegmentDataset([segment], "val", store, settings).clip(0)
    clip = settings.transform.clips(collate_clips([sample]))
    device = next(loaded.model.parameters()).device
    return [pathway.to(device) for pathway in clip], sample.frames.numpy()[..., ::-1]
