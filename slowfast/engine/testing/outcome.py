"""Output of a test: predictions, results, scalars, and a table in the log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from slowfast.config.heads import HeadSpec
from slowfast.datasets.names import class_names
from slowfast.datasets.partial import LeftOut
from slowfast.datasets.types import Segment
from slowfast.engine.monitor.confusion import confusion_pictures, draws_confusion
from slowfast.engine.monitor.tensorboard import ScalarWriter
from slowfast.engine.testing.view_scoring import SegmentScores
from slowfast.evaluation.confusion import confusion_counts
from slowfast.evaluation.epic import EpicProtocol, Subsets, read_many_shot, read_subsets
from slowfast.evaluation.predictions import Predictions, write_predictions
from slowfast.evaluation.results import recognition_results
from slowfast.evaluation.scores import log_scores, metric_scores
from slowfast.evaluation.tables import format_table
from slowfast.models.registry import model_spec
from slowfast.utils.files import require_free_name, write_json
from slowfast.utils.logging import log_json_stats

logger = logging.getLogger(__name__)


RESULTS_NAME = "results.json"


def check_outcome(cfg: CfgNode) -> None:
    """Check before a test that its files can be written. Raises: UserError."""
    names = [RESULTS_NAME, *filter(None, [cfg.TEST.SAVE_PREDICT_PATH])]
    for name in names:
        require_free_name(Path(cfg.OUTPUT_DIR) / name)


def write_outcome(
    cfg: CfgNode,
    heads: Sequence[HeadSpec],
    segments: Sequence[Segment],
    scored: Sequence[SegmentScores],
    left_out: LeftOut | None = None,
) -> None:
    """Write TEST.SAVE_PREDICT_PATH and `results.json` under OUTPUT_DIR and log the table.

    scored: the scores of each segment, in the order of `segments`. left_out: segments of the list
    that were not scored, because their video is missing.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if cfg.TEST.SAVE_PREDICT_PATH:
        path = folder / cfg.TEST.SAVE_PREDICT_PATH
        write_predictions(path, _predictions(heads, segments, scored))
        logger.info("predictions in %s", path)
    scores = [
        metric_scores(joined, logits=cfg.TEST.NO_ACT, multi_label=head.multi_label)
        for head, joined in zip(heads, _stacked([s.joined for s in scored]), strict=True)
    ]
    labels = _stacked([s.labels for s in scored])
    protocol = replace(epic_protocol(cfg, segments), scorer_compat=cfg.TEST.SCORER_COMPAT)
    results = recognition_results(heads, scores, labels, protocol)
    if left_out is not None:
        results["left_out"] = left_out.counts(heads)
    path = write_json(folder / RESULTS_NAME, results)
    scalars = ScalarWriter(cfg)
    _log_values(scalars, results)
    if draws_confusion(cfg):
        _draw_confusion(scalars, cfg, heads, scores, labels)
    scalars.close()
    logger.info("results in %s\n%s", path, format_table(results))


def epic_protocol(cfg: CfgNode, segments: Sequence[Segment]) -> EpicProtocol:
    """The tables below DATA.PATH_TO_DATA_DIR that the EPIC-KITCHENS protocol reads."""
    annotations = cfg.DATA.PATH_TO_DATA_DIR
    return EpicProtocol(
        participants=[segment.participant_id for segment in segments],
        subsets=read_subsets(annotations) if cfg.DATA.EPIC_100 else Subsets(),
        many_shot=None if cfg.DATA.EPIC_100 else read_many_shot(annotations),
    )


def _log_values(scalars: ScalarWriter, results: Mapping[str, Any]) -> None:
    """Log the main values and our own as a line and to TensorBoard."""
    values = {
        name: value
        for name, value in {**results, **results.get("ours", {})}.items()
        if isinstance(value, (int, float))
    }
    log_json_stats(logger, {"_type": "test_final", **values})
    scalars.add("test", values, 0)


def _draw_confusion(
    scalars: ScalarWriter,
    cfg: CfgNode,
    heads: Sequence[HeadSpec],
    scores: Sequence[np.ndarray],
    labels: Sequence[np.ndarray],
) -> None:
    counts = {
        head.name: confusion_counts(s, y)
        for head, s, y in zip(heads, scores, labels, strict=True)
        if not head.multi_label
    }
    names = class_names(cfg, model_spec(cfg).view, heads)
    for head, picture in confusion_pictures(counts, names):
        scalars.add_picture(f"test_confusion/{head}", picture, 0)


def _predictions(
    heads: Sequence[HeadSpec], segments: Sequence[Segment], scored: Sequence[SegmentScores]
) -> Predictions:
    averaged = _stacked([scores.probabilities for scores in scored])
    return Predictions(
        {head.name: log_scores(p) for head, p in zip(heads, averaged, strict=True)},
        np.array([segment.segment_id for segment in segments], dtype=np.str_),
        frozenset(head.name for head in heads if head.multi_label),
    )


def _stacked(rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Per segment and head -> per head, segments stacked."""
    return [np.stack(column) for column in zip(*rows, strict=True)]
