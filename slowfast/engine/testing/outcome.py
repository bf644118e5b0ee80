"""What a test leaves behind: predictions, results, and a table in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.datasets.types import Segment
from slowfast.engine.testing.view_scoring import SegmentScores
from slowfast.evaluation.epic import read_many_shot, read_subsets
from slowfast.evaluation.predictions import write_predictions
from slowfast.evaluation.results import ACTION_HEADS, multilabel_results, recognition_results
from slowfast.evaluation.scores import log_scores
from slowfast.evaluation.tables import format_table
from slowfast.utils.files import write_json
from slowfast.utils.logging import log_json_stats

logger = logging.getLogger(__name__)


def write_outcome(
    cfg: CfgNode, segments: Sequence[Segment], scored: Sequence[SegmentScores]
) -> None:
    """Write TEST.SAVE_PREDICT_PATH and `results.json` below OUTPUT_DIR and log the table.

    scored: the scores of each segment, in the order of `segments`.
    """
    folder = Path(cfg.OUTPUT_DIR)
    joined = _stacked([scores.joined for scores in scored])
    labels = _stacked([scores.labels for scores in scored])
    if labels[0].ndim == 2:
        results = multilabel_results(joined, labels, ACTION_HEADS[: len(joined)])
    else:
        if cfg.TEST.SAVE_PREDICT_PATH and len(joined) == 2:
            _write_predictions(folder / cfg.TEST.SAVE_PREDICT_PATH, segments, scored)
        results = _recognition(cfg, segments, joined, labels)
    path = write_json(folder / "results.json", results)
    flat = {name: value for name, value in results.items() if isinstance(value, (int, float))}
    log_json_stats(logger, {"_type": "test_final", **flat})
    logger.info("results in %s\n%s", path, format_table(results))


def _recognition(
    cfg: CfgNode,
    segments: Sequence[Segment],
    joined: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
) -> dict[str, Any]:
    scores = joined if cfg.TEST.NO_ACT else [log_scores(probabilities) for probabilities in joined]
    heads = ACTION_HEADS if len(joined) == 2 else tuple(f"head{i}" for i in range(len(joined)))
    annotations = cfg.DATA.PATH_TO_DATA_DIR
    return recognition_results(
        scores,
        labels,
        heads,
        participants=[segment.participant_id for segment in segments],
        subsets=read_subsets(annotations) if cfg.DATA.EPIC_100 else None,
        many_shot=None if cfg.DATA.EPIC_100 else read_many_shot(annotations),
        scorer_compat=cfg.TEST.SCORER_COMPAT,
    )


def _write_predictions(
    path: Path, segments: Sequence[Segment], scored: Sequence[SegmentScores]
) -> None:
    verb, noun = (log_scores(p) for p in _stacked([scores.probabilities for scores in scored]))
    write_predictions(path, verb, noun, [segment.segment_id for segment in segments])
    logger.info("predictions in %s", path)


def _stacked(rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Per segment and head -> per head, segments stacked."""
    return [np.stack(column) for column in zip(*rows, strict=True)]
