"""The best and the worst predictions as filmstrips with scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.evaluation.scores import log_softmax
from slowfast.report.explained import explainer
from slowfast.report.run import ReportRun, TestedSegments
from slowfast.report.strips import Filmstrips
from slowfast.utils.errors import UserError

_TOP = 5


def examples(run: ReportRun, count: int, *, explain: bool) -> dict[str, Any] | None:
    """`count` segments each with the highest and the lowest probability of their labels.

    rows: [{group, id, text, strip, heads: [{head, label, answers: [[name, probability, right]]}],
    maps: [{title, strip}]}]. The probability of several heads is the product. Multi-label heads
    are not ranked. maps: Grad-CAM of each head's answer, by the run's newest checkpoint.
    None without a tested list, and where its frames cannot be opened: `run.missing` then says why.
    """
    tested = run.tested
    if tested is None or not tested.segments:
        return None
    total = _log_probability(tested)
    order = np.argsort(-total, kind="stable")
    order = order[np.isfinite(total[order])]
    groups = {"best": order[:count], "worst": order[count:][-count:][::-1]}
    try:
        frames = tested.source.frames(tested.source.annotations())
    except UserError as error:
        run.missing.append(f"best and worst predictions: {error}")
        return None
    strips = Filmstrips(frames)
    maps = explainer(run, frames) if explain else None
    rows = []
    for group, chosen in groups.items():
        for row in chosen.tolist():
            segment = tested.segments[row]
            rows.append(
                {
                    "group": group,
                    "id": segment.segment_id,
                    "text": segment.narration,
                    "strip": strips.strip(segment),
                    "heads": _answers(run, tested, row),
                    "maps": maps(segment) if maps else [],
                }
            )
    lost = f"{strips.lost} without filmstrip: {strips.reason}" if strips.lost else ""
    return {"rows": rows, "lost": lost}


def _log_probability(tested: TestedSegments) -> NDArray[np.float64]:
    """Per segment the log-probability of its labels; -inf without one."""
    total = np.zeros(len(tested.segments))
    for head in tested.heads:
        if head.multi_label:
            continue
        labels = tested.labels[head.name]
        logs = log_softmax(tested.scores[head.name])[np.arange(len(labels)), np.maximum(labels, 0)]
        total += np.where(labels >= 0, logs, -np.inf)
    return total


def _answers(run: ReportRun, tested: TestedSegments, row: int) -> list[dict[str, Any]]:
    answers = []
    for head in tested.heads:
        names, scores = run.names[head.name], tested.scores[head.name][row].astype(np.float64)
        label = tested.labels[head.name][row]
        if head.multi_label:
            probabilities, right = np.exp(scores), np.flatnonzero(label)
        else:
            probabilities, right = np.exp(log_softmax(scores[None])[0]), np.array([label])
        best = np.argsort(-probabilities, kind="stable")[:_TOP]
        answers.append(
            {
                "head": head.name,
                "label": ", ".join(names[k] for k in right.tolist()),
                "answers": [
                    [names[k], float(probabilities[k]), bool(k in right)] for k in best.tolist()
                ],
            }
        )
    return answers
