"""Features of the test segments: extracted once, stored in shards, read by the other tasks.

Legend: n segments, v distinct views of a segment, V all its views, F pooled channels, D embedding
width, L windows. A segment's record holds

- `segment_id` () str, `labels0`, `labels1`: class ids () int64, -1 without one, or multi-hot (K,);
- `pooled` (F,) float32: the mean over all V views of the pooled features before dropout (where the
  head pools windows, of their mean);
- `projected` (D,) float32: the mean over all V views of their projections (norm 1), again of
  norm 1; only if the model has a projection of the view;
- `views` (v, F) float32 and `weights` (v,) int64: pooled features of each distinct view, and how
  many of the V views it stands for; only with TEST.FEATURES.PER_VIEW.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor, nn

from slowfast.datasets.build import VideoDataset
from slowfast.datasets.types import Segment, SegmentViews
from slowfast.engine.testing import shards
from slowfast.engine.testing.fingerprint import Key, rounding_key, view_key
from slowfast.engine.testing.segment_loop import run_segments
from slowfast.engine.testing.shards import Record
from slowfast.engine.testing.view_scoring import SegmentScores, ViewJoin, ViewScores
from slowfast.models.recognizer import Recognizer
from slowfast.utils import distributed
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

# Folder of the features of a test, under OUTPUT_DIR.
FEATURES = "features"
_RAGGED = ("views", "weights")


@dataclass
class TestedView:
    """One view under test: its segments, its recogniser and its projection, if there is one.

    weights, projection_weights: digests of both as they were loaded; empty without a projection.
    """

    # Keeps pytest from collecting this class, whose name starts with Test.
    __test__ = False

    name: str
    dataset: VideoDataset
    recognizer: Recognizer
    weights: str
    projection: nn.Module | None = None
    projection_weights: str = ""


class FeatureExtractor:
    """Computes the record of one segment, a chunk of views at a time."""

    def __init__(
        self, view: TestedView, *, chunk_views: int, per_view: bool, device: torch.device
    ) -> None:
        self._view = view
        self._chunk_views = chunk_views
        self._per_view = per_view
        self._device = device

    @torch.no_grad()
    def __call__(self, segment: SegmentViews) -> Record:
        pooled, projected = [], []
        segment = segment.to(self._device)
        transform = self._view.dataset.transform
        for start in range(0, len(segment.views), self._chunk_views):
            stop = min(start + self._chunk_views, len(segment.views))
            clips = transform.clips(segment.batch(start, stop))
            features = self._view.recognizer.features(clips)
            pooled.append(features)
            if self._view.projection is not None:
                projected.append(self._view.projection(features))
        weights = np.array([view.weight for view in segment.views], np.int64)
        views = torch.cat(pooled).cpu()
        record: dict[str, NDArray] = {
            "segment_id": np.array(self._view.dataset.segments[segment.index].segment_id),
            **{f"labels{task}": y.numpy().copy() for task, y in enumerate(segment.labels)},
            "pooled": _mean(views, weights).astype(np.float32),
        }
        if projected:
            mean = _mean(torch.cat(projected).cpu(), weights)
            record["projected"] = (mean / np.linalg.norm(mean)).astype(np.float32)
        if self._per_view:
            record |= {"views": views.numpy(), "weights": weights}
        return record


class FeatureSet:
    """The features of all segments of a view, read from its files on demand."""

    def __init__(self, paths: Sequence[Path], segments: Sequence[Segment]) -> None:
        self.segments = segments
        self._paths = list(paths)

    def matrix(self, name: str) -> NDArray:
        """An array of the records, `pooled` or `projected`, stacked in the order of segments."""
        rows: dict[int, NDArray] = {}
        for index, record in shards.read_records(self._paths, [name]):
            rows[index] = record[name]
        for index, row in rows.items():
            if not np.isfinite(row).all():
                raise UserError(
                    f"the {name} features of segment {self.segments[index].segment_id} are NaN or "
                    f"infinite; check the weights, delete {self._paths[0].parent} and run again"
                )
        return np.stack([rows[index] for index in range(len(self.segments))])

    def scores(
        self,
        classify: Callable[[Tensor], list[Tensor]],
        join: ViewJoin,
        *,
        chunk_views: int,
        device: torch.device,
    ) -> list[SegmentScores]:
        """The scores of `SegmentScorer` for every segment, by the recogniser's head.

        classify: (N, 1, F) -> [(N, K) per task].
        """
        scored: dict[int, SegmentScores] = {}
        for index, record in shards.read_records(self._paths):
            joined = ViewScores(join)
            for start in range(0, len(record["views"]), chunk_views):
                part = slice(start, start + chunk_views)
                features = torch.from_numpy(record["views"][part]).to(device)
                with torch.no_grad():
                    scores = [head.cpu() for head in classify(features[:, None])]
                joined.add(scores, record["weights"][part].tolist())
            labels = [record[f"labels{task}"] for task in range(len(join.heads))]
            scored[index] = joined.result(labels)
        return [scored[index] for index in range(len(self.segments))]


def features_folder(cfg: CfgNode, view: str) -> Path:
    """TEST.FEATURES.DIR, by default `features` under OUTPUT_DIR, and the view in it."""
    return Path(cfg.TEST.FEATURES.DIR or Path(cfg.OUTPUT_DIR) / FEATURES) / view


def extract_features(
    cfg: CfgNode, view: TestedView, chunk_views: int, device: torch.device
) -> FeatureSet:
    """Read the stored features of a view and compute the missing ones. Call on every rank.

    Raises: UserError if TEST.FEATURES.DIR is set and has features of another test, or is not shared
        by all processes.
    """
    folder = features_folder(cfg, view.name)
    key = _features_key(cfg, view)
    exact = {**key, **rounding_key(cfg, chunk_views, device)}
    # Complete features are used as they are; incomplete ones must agree to the last bit.
    state = _state(cfg, folder, key, exact, len(view.dataset)) if distributed.is_main() else None
    is_complete, error = distributed.broadcast_object(state)
    if error:
        raise UserError(error)
    if not is_complete:
        extractor = FeatureExtractor(
            view, chunk_views=chunk_views, per_view=cfg.TEST.FEATURES.PER_VIEW, device=device
        )
        before, _ = run_segments(
            cfg,
            view.dataset,
            extractor,
            folder,
            exact,
            keep=False,
            ragged=_RAGGED,
            title=f"{view.name} features",
        )
        distributed.barrier()
        if distributed.is_main():
            shards.tidy(folder, before)
    distributed.barrier()
    found = shards.find(folder, key)
    missing = len(view.dataset) - len(found.done)
    if missing:
        raise UserError(
            f"{folder} lacks the features of {missing} segments that other processes wrote; "
            "set TEST.FEATURES.DIR to a folder that all machines of the run share"
        )
    return FeatureSet(found.paths, view.dataset.segments)


def _state(cfg: CfgNode, folder: Path, key: Key, exact: Key, count: int) -> tuple[bool, str]:
    """Whether all features are stored, and the reason why a named folder cannot be used."""
    found = shards.find(folder, key)
    if len(found.done) == count and not found.others:
        return True, ""
    stale = shards.find(folder, exact).stale
    if not (stale and cfg.TEST.FEATURES.DIR):
        return False, ""
    return False, (
        f"the features in {folder} are of another test ({stale}); set TEST.FEATURES.DIR to "
        "another folder, or restore their config"
    )


def kept_features(cfg: CfgNode, dataset: VideoDataset, key: Key) -> FeatureSet | None:
    """Features from which the head gives the scores of the run; None if there are none.

    They have the key, are complete and stored by view, and the head does not pool windows, since
    those scores are averaged after the soft-max.

    key: the `view_key` of the run.
    """
    folder = features_folder(cfg, key["view"])
    found = shards.find(folder, {**key, "views": "kept"})
    if found.stale:
        logger.info("the features in %s are of another test (%s): not used", folder, found.stale)
    if cfg.MODEL.HEAD_POOL != "global" or len(found.done) < len(dataset):
        return None
    return FeatureSet(found.paths, dataset.segments)


def _features_key(cfg: CfgNode, view: TestedView) -> Key:
    key = view_key(cfg, view.name, view.weights, view.dataset)
    per_view = cfg.TEST.FEATURES.PER_VIEW
    return {
        **key,
        "projection": view.projection_weights,
        "views": "kept" if per_view else "averaged",
    }


def _mean(rows: Tensor, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of (v, F) over the views that the rows stand for: (F,)."""
    mean: NDArray[np.float64] = weights @ rows.double().numpy() / weights.sum()
    return mean
