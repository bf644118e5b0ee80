"""Names of the values of classification heads, for a log, a file or TRAIN.BEST_METRIC.

The value of a metric is called `{head}_{metric}` (`verb_top1`). For the joint answer it is
`action_{metric}` if the heads are verb and noun, and `all_{metric}` for other single-label heads.
The mean of a multi-label metric over the heads has the metric's name alone (`mAP`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from slowfast.config.heads import HeadSpec, joint_name
from slowfast.evaluation.metric_registry import Metric, all_metrics
from slowfast.utils.errors import UserError


class NamedMetric(NamedTuple):
    """A metric of one answer. answer: the name of a head, or of the joint answer."""

    answer: str
    metric: Metric

    @property
    def name(self) -> str:
        return f"{self.answer}_{self.metric.name}"


class BestMetric(NamedTuple):
    """The validation metric that selects the best checkpoint."""

    name: str
    lower_is_better: bool

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` is better than the best one so far, if any; NaN never is."""
        if best is None:
            return value == value
        return value < best if self.lower_is_better else value > best


def joint_answer(heads: Sequence[HeadSpec]) -> str:
    """Name of the joint answer of the heads; "" for a single one and for multi-label ones."""
    if any(head.multi_label for head in heads):
        return ""
    return joint_name([head.name for head in heads])


def named_metrics(heads: Sequence[HeadSpec], *, ranked: bool) -> list[NamedMetric]:
    """The metrics of every head, then of the joint answer.

    ranked: whether the combinations of the joint answer are ranked.
    """
    named = [
        NamedMetric(head.name, metric)
        for head in heads
        for metric in all_metrics()
        if metric.labels == ("multi" if head.multi_label else "single")
    ]
    if joint := joint_answer(heads):
        kinds = ("best", "ranking") if ranked else ("best",)
        named += [NamedMetric(joint, metric) for metric in all_metrics() if metric.joint in kinds]
    return named


def mean_metrics(heads: Sequence[HeadSpec]) -> list[Metric]:
    """The metrics that have a mean over the multi-label heads."""
    has_multi_label = any(head.multi_label for head in heads)
    return [metric for metric in all_metrics() if metric.labels == "multi" and has_multi_label]


def best_metric(heads: Sequence[HeadSpec], asked: str = "") -> BestMetric:
    """TRAIN.BEST_METRIC; empty: top1 of the joint answer or of the only head, else mAP.

    Raises: UserError for a name that is not a validation metric of the heads.
    """
    known = validation_metrics(heads)
    defaults = (f"{joint_answer(heads) or heads[0].name}_top1", "mAP")
    name = asked or next(name for name in defaults if name in known)
    if name not in known:
        raise UserError(
            f"TRAIN.BEST_METRIC {name} is not a validation metric of this model; choose one of "
            f"{', '.join(known)}"
        )
    return BestMetric(name, known[name].lower_is_better)


def main_value(key: str) -> tuple[str, Metric] | None:
    """The answer and the metric of a main value of results.json; None for any other key.

    The answer is "" for a mean over heads.
    """
    if key.startswith("chance_"):
        return None
    found = [
        (f"_{key}".removesuffix(f"_{metric.name}").removeprefix("_"), metric)
        for metric in all_metrics()
        if metric.chance and f"_{key}".endswith(f"_{metric.name}")
    ]
    # Take the longest match, because `top1` is also the end of a metric called `strict_top1`.
    return max(found, key=lambda pair: len(pair[1].name), default=None)


def validation_metrics(heads: Sequence[HeadSpec]) -> dict[str, Metric]:
    """The validation values by name; those of the joint answer and the means come first."""
    named = named_metrics(heads, ranked=False)
    joint = joint_answer(heads)
    means = {metric.name: metric for metric in mean_metrics(heads)}
    named.sort(key=lambda entry: entry.answer != joint)
    return {**means, **{entry.name: entry.metric for entry in named}}
