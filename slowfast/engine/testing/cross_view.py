"""TEST.TASK cross_view: retrieval between the views, and similarity of pairs.

Legend: n ego segments, m exo segments, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from numpy.typing import NDArray

from slowfast.config.heads import ego_heads
from slowfast.datasets.build import VideoDataset
from slowfast.datasets.pairing.label_map import TIER_HEADS
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.partial import kept_positions, listed_segments
from slowfast.datasets.registry import build_source
from slowfast.evaluation.cross_view import agreeing_pairs, cross_view_recall, pair_similarity
from slowfast.semantics.exo_labels import map_exo_labels
from slowfast.utils.errors import UserError
from slowfast.utils.paths import local_path


@dataclass(frozen=True)
class CrossViewLabels:
    """Ego classes of both views per head, multi-hot (n, K), (m, K).

    pairs: (p, 2) rows of a pair table of both lists, None without one.
    """

    ego: list[NDArray[np.bool_]]
    exo: list[NDArray[np.bool_]]
    pairs: NDArray[np.int64] | None


def read_cross_view_labels(cfg: CfgNode, ego: VideoDataset, exo: VideoDataset) -> CrossViewLabels:
    """The labels of both views as ego classes, by the label map, and TEST.CROSS_VIEW.PAIRS.

    Segments whose video is missing are left out.

    Raises: UserError for missing class tables, or a pair table of other lists.
    """
    annotations = build_source(cfg.EXO.DATASET, cfg, "test", "exo").annotations()
    labels = map_exo_labels(cfg, annotations, required=True)
    assert labels is not None
    ego_classes = []
    # The labels are compared, so the first heads are those of TIER_HEADS.
    for place, head in enumerate(ego_heads(cfg)[: len(TIER_HEADS)]):
        multi_hot = np.zeros((len(ego), head.num_classes), bool)
        for row, segment in enumerate(ego.segments):
            multi_hot[row, list(segment.labels[place])] = True
        ego_classes.append(multi_hot)
    kept = kept_positions(exo)
    exo_classes = [has.T[kept] for has in (labels.has_verb, labels.has_noun)]
    return CrossViewLabels(ego_classes, exo_classes, _table_pairs(cfg, ego, exo))


def cross_view_results(
    labels: CrossViewLabels, ego: NDArray[np.float32], exo: NDArray[np.float32]
) -> dict[str, Any]:
    """Recall in both directions and the similarity of pairs; ego (n, D), exo (m, D) of norm 1."""
    results: dict[str, Any] = {
        "task": "cross_view",
        "num_segments": len(ego),
        "num_exo_segments": len(exo),
    }
    for name, queries, gallery, asking, answers in (
        ("ego_to_exo", ego, exo, labels.ego, labels.exo),
        ("exo_to_ego", exo, ego, labels.exo, labels.ego),
    ):
        values = cross_view_recall(queries, gallery, asking, answers)
        results |= {_name(name, key): value for key, value in values.items()}
    for name, pairs in (
        ("label_pairs", agreeing_pairs(labels.ego, labels.exo)),
        ("table_pairs", labels.pairs),
    ):
        if pairs is not None and 0 < len(np.unique(pairs, axis=0)) < len(ego) * len(exo):
            results[f"num_{name}"] = len(pairs)
            similarity = pair_similarity(ego, exo, pairs)
            results |= {f"{name}_{key}": value for key, value in similarity.items()}
    return results


def _name(direction: str, key: str) -> str:
    for prefix in ("num_", "chance_"):
        if key.startswith(prefix):
            return f"{prefix}{direction}_{key.removeprefix(prefix)}"
    return f"{direction}_{key}"


def _table_pairs(cfg: CfgNode, ego: VideoDataset, exo: VideoDataset) -> NDArray[np.int64] | None:
    if not cfg.TEST.CROSS_VIEW.PAIRS:
        return None
    path = local_path(cfg.TEST.CROSS_VIEW.PAIRS, "TEST.CROSS_VIEW.PAIRS")
    if not path.is_file():
        raise UserError(f"TEST.CROSS_VIEW.PAIRS {path} does not exist; correct the path")
    table = PairTable.load(path)
    # However it was mined: only the lists must be those that are tested.
    table.check(path, listed_segments(ego), listed_segments(exo), table.settings)
    if ego.left_out is not None or exo.left_out is not None:
        table = table.restricted(kept_positions(ego), kept_positions(exo))
    rows, places = np.nonzero(table.indices >= 0)
    if not len(rows):
        raise UserError(
            f"TEST.CROSS_VIEW.PAIRS {path} contains no pairs; run tools/mine_pairs.py again"
        )
    return np.stack([rows, table.indices[rows, places]], axis=1).astype(np.int64)
