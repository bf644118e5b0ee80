"""Grad-CAM maps of the predictions that a page shows."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch

from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import FrameStore, Segment
from slowfast.engine.checkpoint import last_checkpoint
from slowfast.inference.explain import blended, explain_clip
from slowfast.inference.loaded_model import load_model
from slowfast.models.recognizer import Recognizer
from slowfast.report.run import ReportRun
from slowfast.report.strips import data_url
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

_FRAMES = 8


def explainer(
    run: ReportRun, frames: FrameStore
) -> Callable[[Segment], list[dict[str, str]]] | None:
    """A function from a segment to its maps [{title, strip}], a row per head and pathway.

    The model is that of the run's newest checkpoint; a map is of the class that it answers for
    the validation clip. None if there is no checkpoint: `run.missing` then gives the reason.
    """
    if run.folder is None:
        return None
    checkpoint = last_checkpoint(run.folder)
    if checkpoint is None:
        run.missing.append("Grad-CAM maps: the run has no checkpoint")
        return None
    try:
        loaded = load_model(checkpoint)
    except UserError as error:
        run.missing.append(f"Grad-CAM maps: {error}")
        return None
    if not isinstance(loaded.model, Recognizer):
        run.missing.append("Grad-CAM maps: the model is not a backbone under a head")
        return None
    settings = loaded.transform.settings

    def maps(segment: Segment) -> list[dict[str, str]]:
        try:
            sample = SegmentDataset([segment], "val", frames, settings).clip(0)
        except UserError as error:
            logger.info("no Grad-CAM map of %s: %s", segment.segment_id, error)
            return []
        clip = settings.transform.clips(collate_clips([sample]))
        with torch.no_grad():
            classes = [int(scores[0].argmax()) for scores in loaded.model(clip)]
        pictures = sample.frames.numpy()[..., ::-1]
        rows = explain_clip(loaded, clip, pictures, classes)
        return [
            {"title": " ".join(row.title.split()), "strip": _strip(row.frames, row.cam)}
            for row in rows
        ]

    return maps


def _strip(frames: np.ndarray, cam: np.ndarray) -> str:
    """At most 8 frames (T, H, W, 3) uint8 RGB under their map, side by side, as a data URL."""
    picked = np.unique(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int))
    row = np.concatenate([blended(frames[k], cam[k]) for k in picked], axis=1)
    return data_url(np.ascontiguousarray(row[..., ::-1]))
