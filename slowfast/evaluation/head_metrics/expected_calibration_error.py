"""Distance between the probability of the best answer and its accuracy."""

from __future__ import annotations

from functools import partial

from slowfast.evaluation import metrics
from slowfast.evaluation.answers import Answers
from slowfast.evaluation.metric_registry import register_metric


@register_metric("calibration_error", labels="single", joint="best", lower_is_better=True)
def calibration_error(answers: Answers) -> metrics.Statistic:
    return partial(metrics.expected_calibration_error, answers.confidence, answers.hits)
