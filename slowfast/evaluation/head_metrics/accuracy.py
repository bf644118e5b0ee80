"""Share of segments whose label is the best answer, or among the five best."""

from __future__ import annotations

from functools import partial

from slowfast.evaluation.answers import Answers
from slowfast.evaluation.metric_registry import register_metric
from slowfast.evaluation.metrics import Statistic, most_frequent_share, rate


def _constant_top(k: int, answers: Answers) -> float:
    return most_frequent_share(answers.labels, k)


@register_metric(
    "top1", labels="single", joint="best", chance=partial(_constant_top, 1), title="top-1"
)
def top1(answers: Answers) -> Statistic:
    return partial(rate, answers.in_top(1))


@register_metric(
    "top5", labels="single", joint="ranking", chance=partial(_constant_top, 5), title="top-5"
)
def top5(answers: Answers) -> Statistic:
    return partial(rate, answers.in_top(5))
