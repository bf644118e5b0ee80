"""Top-1 accuracy per class, averaged over the classes that occur; rare ones count equally."""

from __future__ import annotations

from functools import partial

from slowfast.evaluation import metrics
from slowfast.evaluation.answers import Answers
from slowfast.evaluation.metric_registry import register_metric


@register_metric("class_mean_recall_at_1", labels="single", joint="best")
def class_mean_recall_at_1(answers: Answers) -> metrics.Statistic:
    return partial(metrics.class_mean_recall, answers.hits, answers.labels)
