"""Scores of a test segment: model set-up, views in chunks, joined in float64."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor, nn

from slowfast.config.heads import HeadSpec
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import SegmentViews
from slowfast.engine.step.precision import set_precision
from slowfast.evaluation.ensemble import ViewEnsemble
from slowfast.models.norms import fold_batch_norms

logger = logging.getLogger(__name__)


def ready_for_test(model: nn.Module, cfg: CfgNode, device: torch.device) -> nn.Module:
    """Move the model to its device and apply eval mode, TEST.FOLD_BN and TEST.PRECISION.

    Call after loading the weights: a folded batch norm has no weights to load.
    """
    model.to(device).eval()
    if cfg.TEST.FOLD_BN:
        logger.info("%d batch norms folded into convolutions", fold_batch_norms(model))
    set_precision(model, cfg.TEST.PRECISION, device)
    return model


_FIELDS = ("joined", "probabilities", "labels")


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

    def record(self, heads: Sequence[HeadSpec]) -> dict[str, NDArray]:
        """The scores as one flat record of arrays by head name; `from_record` restores them."""
        return {
            f"{field}_{head.name}": array
            for field in _FIELDS
            for head, array in zip(heads, getattr(self, field), strict=True)
        }

    @classmethod
    def from_record(cls, record: Mapping[str, NDArray], heads: Sequence[HeadSpec]) -> SegmentScores:
        """Restore the scores of a record. Raises: KeyError if it has other heads."""
        return cls(*([record[f"{field}_{head.name}"] for head in heads] for field in _FIELDS))


class ViewJoin(NamedTuple):
    """Method that joins the scores of a segment's views.

    method: `sum` (the mean over views) or `max`. logits: the model returns logits.
    """

    heads: tuple[HeadSpec, ...]
    method: str
    logits: bool

    def probabilities(self, scores: Sequence[Tensor]) -> list[Tensor]:
        """Probabilities of scores (V, K) per head."""
        if not self.logits:
            return list(scores)
        return [
            s.sigmoid() if head.multi_label else s.softmax(1)
            for head, s in zip(self.heads, scores, strict=True)
        ]


class ViewScores:
    """Joins the scores of the views of one segment, chunk by chunk."""

    def __init__(self, join: ViewJoin) -> None:
        self._join = join
        self._joined, self._averaged = ViewEnsemble(join.method), ViewEnsemble("sum")

    def add(self, scores: Sequence[Tensor], weights: Sequence[int]) -> None:
        """scores: (V, K) per head. weights: how many views each of the V stands for."""
        self._joined.add(0, scores, weights)
        self._averaged.add(0, self._join.probabilities(scores), weights)

    def result(self, labels: Sequence[NDArray]) -> SegmentScores:
        return SegmentScores(self._joined.pop(0), self._averaged.pop(0), list(labels))


class SegmentScorer:
    """Runs the views of a segment through the model, a chunk at a time.

    chunk_views: views in one forward pass; a chunk never mixes segments, so a score does not
        depend on which process computed it.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: DeviceTransform,
        join: ViewJoin,
        *,
        chunk_views: int,
        device: torch.device,
    ) -> None:
        self.chunk_views = chunk_views
        self._model = model
        self._transform = transform
        self._join = join
        self._device = device

    @torch.no_grad()
    def __call__(self, segment: SegmentViews) -> SegmentScores:
        joined = ViewScores(self._join)
        segment = segment.to(self._device)
        starts = range(0, len(segment.views), self.chunk_views)
        chunks: list[list[Tensor]] = [
            self._model(self._transform.clips(segment.batch(start, start + self.chunk_views)))
            for start in starts
        ]
        for start, scores in zip(starts, _on_host(chunks), strict=True):
            views = segment.views[start : start + self.chunk_views]
            joined.add(scores, [view.weight for view in views])
        # Copies: a label may be in memory that a worker shares.
        return joined.result([label.numpy().copy() for label in segment.labels])


def _on_host(chunks: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    """Copy the scores [(V, K) per head] of all chunks to the host; waits for the device once."""
    widths = [scores.shape[1] for scores in chunks[0]]
    rows = [len(scores[0]) for scores in chunks]
    together = torch.cat([torch.cat(list(scores), dim=1) for scores in chunks]).cpu()
    return [list(part.split(widths, dim=1)) for part in together.split(rows)]
