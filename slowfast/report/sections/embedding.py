"""A map of the embeddings: ego clips, exo clips and narrations in one plane.

Legend: n rows, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.config.heads import heads_of
from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.datasets.registry import JOINED_REGISTRY, SOURCE_REGISTRY, build_source
from slowfast.datasets.types import Segment
from slowfast.engine.testing import shards
from slowfast.engine.testing.features import features_folder
from slowfast.models.registry import model_spec
from slowfast.report.run import ReportRun
from slowfast.utils.errors import UserError

# Points of each kind; more would overlap.
_MOST_POINTS = 600


class _Rows(NamedTuple):
    """Embeddings (n, D) of one kind, and the segments that they are of."""

    kind: str
    vectors: NDArray[np.float32]
    segments: Sequence[Segment]


def embedding(run: ReportRun) -> dict[str, Any] | None:
    """Points of every kind (`ego`, `exo`, `text`) in the plane of the two main directions.

    maps: {name of the projection: [[x, y]]}: PCA, and UMAP where umap-learn is installed.
    kinds, texts: per point. labels: {head: per point the names of the labels}.
    None without features: TEST.TASK features writes them.
    """
    if run.cfg is None or not model_spec(run.cfg).is_dual:
        return None
    try:
        kinds = _view_rows(run.cfg)
    except UserError as error:
        run.missing.append(f"embedding map: {error}")
        return None
    if not kinds:
        run.missing.append(
            "embedding map: the run has no features; write them with TRAIN.ENABLE False "
            "TEST.TASK features"
        )
        return None
    try:
        kinds.append(_text_rows(run.cfg, kinds))
    except UserError as error:
        run.missing.append(f"narrations in the embedding map: {error}")
    vectors = np.concatenate([rows.vectors for rows in kinds]).astype(np.float64)
    segments = [segment for rows in kinds for segment in rows.segments]
    maps = {"PCA": _pca(vectors)}
    if reduce := _umap():
        maps["UMAP"] = reduce(vectors)
    return {
        "maps": {name: points.round(4).tolist() for name, points in maps.items()},
        "kinds": [rows.kind for rows in kinds for _ in rows.segments],
        "texts": [segment.narration for segment in segments],
        "labels": _labels(run, kinds),
    }


def _view_rows(cfg: CfgNode) -> list[_Rows]:
    """The rows of the views that have features."""
    kinds = []
    for view in ("ego", "exo"):
        paths = sorted(Path(features_folder(cfg, view)).glob("part-*.npz"))
        found = {
            str(record["segment_id"]): record["projected"]
            for _, record in shards.read_records(paths, ["segment_id", "projected"])
        }
        if not found:
            continue
        segments = [s for s in _segments(cfg, view) if s.segment_id in found][:_MOST_POINTS]
        kinds.append(_Rows(view, np.stack([found[s.segment_id] for s in segments]), segments))
    return kinds


def _text_rows(cfg: CfgNode, kinds: Sequence[_Rows]) -> _Rows:
    """The embeddings of the distinct narrations. Raises: UserError if one is not cached."""
    distinct = {segment.narration: segment for rows in kinds for segment in rows.segments}
    table = NarrationTable.load(
        cfg.SUML.CACHE_DIR, cfg.SUML.ENCODER, cfg.SUML.EMBED_DIM, list(distinct)
    )
    return _Rows("text", table.vectors.numpy(), list(distinct.values()))


def _segments(cfg: CfgNode, view: str) -> Sequence[Segment]:
    """The tested segments of a view."""
    name = cfg.TEST.DATASET
    if name in JOINED_REGISTRY or view not in SOURCE_REGISTRY.get(name).views:
        name = cfg.EXO.DATASET if view == "exo" else cfg.EGO.DATASET
    return build_source(name, cfg, "test", view).annotations().segments


def _labels(run: ReportRun, kinds: Sequence[_Rows]) -> dict[str, list[str]]:
    """Per ego head the names of each point's labels; exo labels have their own vocabulary."""
    assert run.cfg is not None
    labels: dict[str, list[str]] = {}
    for position, head in enumerate(heads_of(run.cfg, "ego")):
        names = run.names.get(head.name, ())
        labels[head.name] = [
            ", ".join(names[k] for k in segment.labels[position] if k < len(names))
            if rows.kind == "ego"
            else ""
            for rows in kinds
            for segment in rows.segments
        ]
    return labels


def _pca(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) coordinates along the two directions of largest variance."""
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    plane: NDArray[np.float64] = centred @ directions[:2].T
    return plane


def _umap() -> Callable[[NDArray], NDArray] | None:
    """The projection of umap-learn, with a fixed seed; None if it is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        return None
    return lambda vectors: UMAP(random_state=0).fit_transform(vectors)
