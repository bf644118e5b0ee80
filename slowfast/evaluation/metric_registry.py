"""Metrics of classification heads, by name.

A metric is one function in a file of `evaluation/head_metrics`, registered under its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from slowfast.evaluation.metrics import Statistic
from slowfast.utils.registry import Registry

Labels = Literal["single", "multi"]
Joint = Literal["none", "best", "ranking"]
FunctionT = TypeVar("FunctionT", bound=Callable[[Any], Statistic])


@dataclass(frozen=True)
class Metric:
    """A metric; fields as the arguments of `register_metric`."""

    name: str
    statistic: Callable[[Any], Statistic]
    labels: Labels
    joint: Joint
    chance: Callable[[Any], float] | None
    lower_is_better: bool
    title: str


METRICS: Registry[Metric] = Registry(
    "metric", "TRAIN.BEST_METRIC", package="slowfast.evaluation.head_metrics"
)


def register_metric(
    name: str,
    *,
    labels: Labels,
    joint: Joint = "none",
    chance: Callable[[Any], float] | None = None,
    lower_is_better: bool = False,
    title: str = "",
) -> Callable[[FunctionT], FunctionT]:
    """Register a function that takes `HeadAnswers` and returns a statistic in percent.

    labels: the kind of heads that the metric supports.
    joint: the part of the joint answer of several heads (`Answers`) that the metric needs. `best`:
        only the best answer. `ranking`: `in_top(k)` with k above 1, which only a test of the
        heads verb and noun computes. `none`: the metric does not support the joint answer.
    chance: takes the same answers and returns the score of a constant answer. A metric with it
        is one of the main values of results.json; any other is stored under `ours`.
    lower_is_better: the lowest value is the best one, for TRAIN.BEST_METRIC.
    title: heading in the table of a test, which shows main values; empty: the name.

    Raises: ValueError for a title without a chance level.
    """
    if title and chance is None:
        raise ValueError(
            f"metric {name} has the title {title!r}, but a table shows it only with a chance level;"
            " give chance=, or remove title="
        )

    def register(statistic: FunctionT) -> FunctionT:
        metric = Metric(name, statistic, labels, joint, chance, lower_is_better, title or name)
        METRICS.add(name, metric)
        return statistic

    return register


def all_metrics() -> list[Metric]:
    """The registered metrics, in the order in which their values are written."""
    return [METRICS.get(name) for name in METRICS]
