"""Per class: support, recall, confusion; and calibration of the probabilities.

Legend: n segments, K classes of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec, joint_name
from slowfast.evaluation.answers import combination_ids
from slowfast.evaluation.confusion import confusion_counts
from slowfast.evaluation.ranking import label_ranks, top_class
from slowfast.evaluation.scores import log_softmax
from slowfast.models.registry import model_spec
from slowfast.report.run import ReportRun, TestedSegments, training_segments
from slowfast.utils.errors import UserError

# The rarest classes that together hold this share of the training segments are the tail.
_TAIL_SHARE = 0.2
_BINS = 10


def per_class(run: ReportRun) -> list[dict[str, Any]]:
    """Per single-label head, and for verb and noun together: a table of classes.

    rows: [name, support, training support or None, `tail` or `head` or "", top-1 recall %,
    top-5 recall %].
    """
    tested = run.tested
    if tested is None:
        return []
    counts = _training_counts(run, tested.heads)
    tables = []
    for head in _single(tested):
        labels = tested.labels[head.name]
        rows = labels >= 0
        ranks = label_ranks(tested.scores[head.name][rows], labels[rows])
        names = run.names[head.name]
        tables.append(_table(head.name, names, labels[rows], ranks, counts.get(head.name)))
    if joint := _joint(run, tested):
        tables.append(joint)
    return tables


def confusion(run: ReportRun) -> list[dict[str, Any]]:
    """Per single-label head: names, and counts (K, K), a row per true class."""
    tested = run.tested
    if tested is None:
        return []
    heads = []
    for head in _single(tested):
        matrix = confusion_counts(tested.scores[head.name], tested.labels[head.name])
        # Classes that neither occur nor are predicted would only be empty lines.
        used = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
        heads.append(
            {
                "head": head.name,
                "names": [run.names[head.name][k] for k in used],
                "counts": matrix[np.ix_(used, used)].tolist(),
            }
        )
    return heads


def calibration(run: ReportRun) -> list[dict[str, Any]]:
    """Per single-label head, ten bins of confidence: mean confidence, accuracy (%), segments."""
    tested = run.tested
    if tested is None:
        return []
    heads = []
    for head in _single(tested):
        labels, scores = tested.labels[head.name], tested.scores[head.name]
        rows = labels >= 0
        confidence = np.exp(log_softmax(scores[rows]).max(axis=1))
        right = top_class(scores[rows]) == labels[rows]
        bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
        filled = [b for b in range(_BINS) if (bins == b).any()]
        heads.append(
            {
                "head": head.name,
                "confidence": [100 * float(confidence[bins == b].mean()) for b in filled],
                "accuracy": [100 * float(right[bins == b].mean()) for b in filled],
                "count": [int((bins == b).sum()) for b in filled],
            }
        )
    return heads


def _single(tested: TestedSegments) -> list[HeadSpec]:
    """Single-label heads that have a labelled segment."""
    return [
        head
        for head in tested.heads
        if not head.multi_label and (tested.labels[head.name] >= 0).any()
    ]


def _table(
    head: str,
    names: Sequence[str],
    labels: NDArray[np.int64],
    ranks: NDArray[np.int64],
    training: NDArray[np.int64] | None,
) -> dict[str, Any]:
    tail = _tail(training)
    rows = []
    for k in np.unique(labels):
        own = ranks[labels == k]
        rows.append(
            [
                names[k],
                len(own),
                None if training is None else int(training[k]),
                "" if training is None else ("tail" if k in tail else "head"),
                100 * float((own < 1).mean()),
                100 * float((own < 5).mean()),
            ]
        )
    return {"head": head, "rows": rows}


def _joint(run: ReportRun, tested: TestedSegments) -> dict[str, Any] | None:
    """Verb and noun together: correct if both are."""
    heads = _single(tested)
    name = joint_name([head.name for head in heads])
    if not name:
        return None
    labels = np.stack([tested.labels[head.name] for head in heads], axis=1)
    rows = (labels >= 0).all(axis=1)
    right = np.all(
        [top_class(tested.scores[head.name]) == tested.labels[head.name] for head in heads], axis=0
    )
    (ids,) = combination_ids(labels[rows])
    words = {
        int(k): " ".join(
            run.names[head.name][c]
            for head, c in zip(heads, labels[rows][ids == k][0], strict=True)
        )
        for k in np.unique(ids)
    }
    hits = right[rows]
    table = [
        [words[k], int((ids == k).sum()), None, "", 100 * float(hits[ids == k].mean()), None]
        for k in np.unique(ids)
    ]
    return {"head": name, "rows": table}


def _training_counts(run: ReportRun, heads: Sequence[HeadSpec]) -> dict[str, NDArray[np.int64]]:
    """Per head the training segments of every class; {} where the list cannot be read."""
    assert run.cfg is not None
    try:
        segments = training_segments(run.cfg, model_spec(run.cfg).view)
    except UserError as error:
        run.missing.append(f"training support of the classes: {error}")
        return {}
    counts = {}
    for position, head in enumerate(heads):
        ids = [k for s in segments for k in s.labels[position] if k < head.num_classes]
        counts[head.name] = np.bincount(np.array(ids, np.int64), minlength=head.num_classes)
    return counts


def _tail(training: NDArray[np.int64] | None) -> set[int]:
    if training is None:
        return set()
    order = np.argsort(training, kind="stable")
    within = np.cumsum(training[order]) <= _TAIL_SHARE * training.sum()
    return {int(k) for k in order[within]}
