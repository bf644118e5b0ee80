"""The values of a test with intervals, and the differences between runs.

Intervals by video are wider than those by segment if segments of one video are similar; they
estimate the accuracy on other videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slowfast.evaluation.head_values import labelled_rows
from slowfast.evaluation.metrics import Statistic, bootstrap_intervals, paired_intervals
from slowfast.evaluation.results import recognition_statistics
from slowfast.report.run import ReportRun, TestedSegments

# Values shown with intervals; the others follow without them.
_MAIN = ("_top1", "_top5", "_mAP", "class_mean_recall_at_1", "_calibration_error")


def results(run: ReportRun) -> list[list[Any]]:
    """Rows [name, value %, chance or None, interval by segment, interval by video]."""
    values = {**run.results, **run.results.get("ours", {})}
    by_segment = run.results.get("intervals", {})
    by_video = _by_video(run.tested) if run.tested is not None else {}
    return [
        [name, value, run.results.get(f"chance_{name}"), by_segment.get(name), by_video.get(name)]
        for name, value in values.items()
        if isinstance(value, float) and name.endswith(_MAIN) and not name.startswith("chance_")
    ]


def differences(runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    """Difference of every further run to the first one, on their common segments.

    rows: [name, first %, other %, difference, interval of the paired bootstrap].
    """
    first = runs[0]
    return [
        {"run": other.name, "base": first.name, **_difference(first, other)} for other in runs[1:]
    ]


def _difference(first: ReportRun, other: ReportRun) -> dict[str, Any]:
    pair = _common(first.tested, other.tested)
    if pair is None:
        return {"rows": [], "note": "no common labelled segments with predictions"}
    one, two = (_statistics(tested) for tested in pair)
    count = len(pair[0].segments)
    names = [name for name in one if name in two and name.endswith(_MAIN)]
    intervals = paired_intervals({name: one[name] for name in names}, two, count)
    once = np.ones(count)
    rows = []
    for name in names:
        a, b = one[name](once), two[name](once)
        rows.append([name, a, b, b - a, list(intervals[name])])
    return {"rows": rows, "note": f"{count} common segments"}


def _common(
    one: TestedSegments | None, two: TestedSegments | None
) -> tuple[TestedSegments, TestedSegments] | None:
    if one is None or two is None or one.heads != two.heads:
        return None
    rows = {segment.segment_id: row for row, segment in enumerate(two.segments)}
    labelled = labelled_rows(one.heads, list(one.labels.values()))
    kept = [
        row
        for row, segment in enumerate(one.segments)
        if labelled[row] and segment.segment_id in rows
    ]
    if not kept:
        return None
    matching = [rows[one.segments[row].segment_id] for row in kept]
    return _of_rows(one, kept), _of_rows(two, matching)


def _by_video(tested: TestedSegments) -> Mapping[str, tuple[float, float]]:
    rows = np.flatnonzero(labelled_rows(tested.heads, list(tested.labels.values())))
    if not len(rows):
        return {}
    kept = _of_rows(tested, rows.tolist())
    statistics = {name: s for name, s in _statistics(kept).items() if name.endswith(_MAIN)}
    videos = [segment.video_id for segment in kept.segments]
    return bootstrap_intervals(statistics, len(videos), groups=videos)


def _statistics(tested: TestedSegments) -> dict[str, Statistic]:
    scores = [
        np.exp(tested.scores[head.name]) if head.multi_label else tested.scores[head.name]
        for head in tested.heads
    ]
    return recognition_statistics(tested.heads, scores, list(tested.labels.values()))


def _of_rows(tested: TestedSegments, rows: Sequence[int]) -> TestedSegments:
    return TestedSegments(
        [tested.segments[row] for row in rows],
        tested.heads,
        {name: table[rows] for name, table in tested.scores.items()},
        {name: table[rows] for name, table in tested.labels.items()},
        tested.source,
    )
