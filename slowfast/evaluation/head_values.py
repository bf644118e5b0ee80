"""Values of the registered metrics for the heads of a model.

Legend: n segments, K classes of a head. Scores and labels of a head are as in `HeadAnswers`; a
label of -1 marks a segment as unlabelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.answers import Answers, HeadAnswers, JointAnswers
from slowfast.evaluation.metric_names import NamedMetric, joint_answer, mean_metrics, named_metrics
from slowfast.evaluation.metrics import Statistic
from slowfast.evaluation.ranking import action_ranks
from slowfast.utils.errors import UserError


@dataclass(frozen=True)
class Answered:
    """The answers of all heads to the same labelled segments.

    joint: the joint answer of several single-label heads, else None.
    """

    heads: tuple[HeadSpec, ...]
    by_head: Mapping[str, HeadAnswers]
    joint: JointAnswers | None

    def statistics(self) -> dict[NamedMetric, Statistic]:
        """All metrics that apply, for every answer."""
        return {named: self.statistic(named) for named in self.named}

    def statistic(self, named: NamedMetric) -> Statistic:
        """One metric. Raises: TypeError if its function does not return a statistic."""
        statistic = named.metric.statistic(self._answers(named.answer))
        if not callable(statistic):
            raise TypeError(
                f"metric {named.metric.name} returns a {type(statistic).__name__}, not a function"
                " of the weights of the segments; return for example partial(rate, answers.hits)"
            )
        return statistic

    def chances(self) -> dict[str, float]:
        """Scores of a constant answer as `chance_{name}`, for the metrics that define one."""
        values = {
            named.name: named.metric.chance(self._answers(named.answer))
            for named in self.named
            if named.metric.chance
        }
        return {f"chance_{name}": value for name, value in with_means(self.heads, values).items()}

    @property
    def named(self) -> list[NamedMetric]:
        """The metrics that apply, for every answer."""
        ranked = self.joint is not None and self.joint.ranks is not None
        return named_metrics(self.heads, ranked=ranked)

    def _answers(self, name: str) -> Answers:
        answers = self.by_head.get(name, self.joint)
        assert answers is not None
        return answers


def head_values(
    heads: Sequence[HeadSpec], scores: Sequence[NDArray], labels: Sequence[NDArray]
) -> dict[str, float]:
    """The values of a training epoch or a validation, in percent, under `validation_metrics`.

    scores, labels: per head. Unlabelled segments are left out; {} if none is labelled.
    """
    rows = labelled_rows(heads, labels)
    if not rows.any():
        return {}
    answered = answer(heads, [s[rows] for s in scores], [y[rows] for y in labels])
    once = np.ones(int(rows.sum()))
    values = {named.name: value(once) for named, value in answered.statistics().items()}
    return with_means(heads, values)


def check_metrics(heads: Sequence[HeadSpec]) -> None:
    """Compute all metrics of these heads on a few synthetic segments, before training.

    Raises: UserError that names a metric that fails, such as one that ranks joint answers in a
        validation, which does not rank them.
    """
    rows = np.arange(4)
    scores = [np.random.default_rng(0).random((len(rows), head.num_classes)) for head in heads]
    labels = [
        np.eye(head.num_classes)[rows % head.num_classes]
        if head.multi_label
        else rows % head.num_classes
        for head in heads
    ]
    answered = answer(heads, scores, labels)
    for named in answered.named:
        try:
            float(answered.statistic(named)(np.ones(len(rows))))
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"metric {named.name} cannot be computed: {reason}") from error


def answer(
    heads: Sequence[HeadSpec],
    scores: Sequence[NDArray],
    labels: Sequence[NDArray],
    *,
    ranked: bool = False,
) -> Answered:
    """The answers to labelled segments; scores and labels per head.

    ranked: also rank the combinations of the joint answer, which is supported for verb and noun.
    Raises: UserError if a label is beyond the classes of its head.
    """
    by_head = {
        head.name: _head_answers(head, s, y)
        for head, s, y in zip(heads, scores, labels, strict=True)
    }
    joint = None
    if name := joint_answer(heads):
        ranks = None
        if ranked and name == "action":
            verb, noun = by_head["verb"], by_head["noun"]
            ranks = action_ranks(verb.scores, noun.scores, verb.labels, noun.labels)
        joint = JointAnswers(list(by_head.values()), ranks)
    return Answered(tuple(heads), by_head, joint)


def labelled_rows(heads: Sequence[HeadSpec], labels: Sequence[NDArray]) -> NDArray[np.bool_]:
    """Mask (n,) of the segments that have a label of every single-label head."""
    rows = np.ones(len(labels[0]), dtype=bool)
    for head, y in zip(heads, labels, strict=True):
        if not head.multi_label:
            rows &= y >= 0
    return rows


def with_means(heads: Sequence[HeadSpec], values: Mapping[str, float]) -> dict[str, float]:
    """`values` by name, with the means over the multi-label heads added."""
    names = [head.name for head in heads if head.multi_label]
    means = {
        metric.name: float(np.mean([values[f"{name}_{metric.name}"] for name in names]))
        for metric in mean_metrics(heads)
        if f"{names[0]}_{metric.name}" in values
    }
    return {**values, **means}


def _head_answers(head: HeadSpec, scores: NDArray, labels: NDArray) -> HeadAnswers:
    if head.multi_label:
        return HeadAnswers(scores, labels > 0)
    if labels.max() >= scores.shape[1]:
        raise UserError(
            f"{head.name} label {labels.max()} is beyond the {scores.shape[1]} {head.name} classes "
            "of the scores; the annotations and the model belong to different data sets"
        )
    return HeadAnswers(scores, labels.astype(np.int64))
