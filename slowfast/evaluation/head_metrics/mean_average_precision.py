"""Mean average precision of multi-label heads, over the classes with a positive."""

from __future__ import annotations

from slowfast.evaluation.answers import HeadAnswers
from slowfast.evaluation.metric_registry import register_metric
from slowfast.evaluation.metrics import Statistic, precision_ranking


def _constant_score(answers: HeadAnswers) -> float:
    """The average precision of a constant score: the mean share of positives."""
    positives = answers.labels
    return float(100.0 * positives.mean(axis=0)[positives.any(axis=0)].mean())


@register_metric("mAP", labels="multi", chance=_constant_score, title="mean average precision")
def mean_average_precision(answers: HeadAnswers) -> Statistic:
    return precision_ranking(answers.scores, answers.labels)
