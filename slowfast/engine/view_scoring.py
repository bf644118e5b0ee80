"""Scores of one segment: its views in chunks through the model, joined in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slowfast.datasets.device_transform import DeviceTransform
from slowfast.datasets.types import SegmentViews
from slowfast.evaluation.ensemble import ViewEnsemble


@dataclass
class SegmentScores:
    """Scores of one segment, per head float64 (K,).

    joined: what the model returns (probabilities, or logits with TEST.NO_ACT), joined over the
        views as DATA.ENSEMBLE_METHOD says.
    probabilities: view-averaged probabilities, whatever the method.
    labels: as the data set gives them.
    """

    joined: list[NDArray[np.float64]]
    probabilities: list[NDArray[np.float64]]
    labels: list[NDArray]


class SegmentScorer:
    """Runs the views of a segment through the model, a chunk at a time.

    chunk_views: views in one forward pass; a chunk never mixes segments, so a score does not
        depend on which process computed it.
    method: `sum` (the mean over views) or `max`.
    logits: the model returns logits.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: DeviceTransform,
        *,
        chunk_views: int,
        method: str,
        logits: bool,
        device: torch.device,
    ) -> None:
        self.chunk_views = chunk_views
        self._model = model
        self._transform = transform
        self._method = method
        self._logits = logits
        self._device = device

    @torch.no_grad()
    def __call__(self, segment: SegmentViews) -> SegmentScores:
        joined, averaged = ViewEnsemble(self._method), ViewEnsemble("sum")
        segment = segment.to(self._device)
        for start in range(0, len(segment.views), self.chunk_views):
            views = segment.views[start : start + self.chunk_views]
            clips = segment.clips(start, start + len(views))
            scores: list[Tensor] = self._model(self._transform(clips))
            weights = [view.weight for view in views]
            joined.add(segment.index, scores, weights)
            probabilities = [s.softmax(1) for s in scores] if self._logits else scores
            averaged.add(segment.index, probabilities, weights)
        return SegmentScores(
            joined=joined.pop(segment.index),
            probabilities=averaged.pop(segment.index),
            labels=[label.numpy() for label in segment.labels],
        )
