"""Verb and noun values that are specific to the EPIC-KITCHENS protocol.

Legend: n segments. An action is a (verb, noun) pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.evaluation import metrics
from slowfast.evaluation.answers import HeadAnswers, combination_ids
from slowfast.evaluation.epic import (
    EpicProtocol,
    ManyShot,
    Ranks,
    official_values,
    rank_segments,
    subset_masks,
)
from slowfast.evaluation.head_values import Answered
from slowfast.evaluation.metrics import Statistic

SCORER_REASON = (
    "the public scorer computes one soft-max over all segments: if some have much larger scores "
    "than the rest, the rest underflows to ties and its action ranking is lost"
)
BOTH_TOP5 = "action_both_top5"


@dataclass(frozen=True)
class EpicValues:
    """Values by name. sections: other entries of results.json."""

    main: dict[str, Statistic] = field(default_factory=dict)
    chances: dict[str, float] = field(default_factory=dict)
    official: dict[str, Statistic] = field(default_factory=dict)
    ours: dict[str, Statistic] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)


def epic_values(answered: Answered, protocol: EpicProtocol) -> EpicValues:
    """The values of the protocol; empty if the heads are not verb and noun."""
    joint = answered.joint
    if joint is None or joint.ranks is None:
        return EpicValues()
    verb, noun = answered.by_head["verb"], answered.by_head["noun"]
    masks = subset_masks(verb.labels, noun.labels, protocol.participants, protocol.subsets)
    ranks = Ranks(verb.ranks, noun.ranks, joint.ranks)
    official: dict[str, Statistic] = {v.name: v for v in official_values(ranks, masks)}
    sections: dict[str, Any] = {"segments": {name: int(mask.sum()) for name, mask in masks.items()}}
    if protocol.scorer_compat:
        sections["scorer_compat"] = _scorer_comparison(verb, noun, masks, official)
    many = protocol.many_shot
    return EpicValues(
        main={BOTH_TOP5: partial(metrics.rate, verb.in_top(5) & noun.in_top(5))},
        chances={f"chance_{BOTH_TOP5}": metrics.rate(_in_frequent(verb) & _in_frequent(noun))},
        official=official,
        ours={} if many is None else _many_shot_statistics(verb, noun, many),
        sections=sections,
    )


def _in_frequent(answers: HeadAnswers) -> NDArray[np.bool_]:
    """Whether each label (n,) is among the five most frequent ones."""
    return np.isin(answers.labels, metrics.most_frequent(answers.labels, 5))


def _many_shot_statistics(
    verb: HeadAnswers, noun: HeadAnswers, many: ManyShot
) -> dict[str, Statistic]:
    """Precision and recall of the top answer over the many-shot classes that occur."""
    actions = combination_ids(
        np.stack([verb.predicted, noun.predicted], axis=1),
        np.stack([verb.labels, noun.labels], axis=1),
        many.actions,
    )
    cases = {
        "verb": (verb.predicted, verb.labels, many.verbs),
        "noun": (noun.predicted, noun.labels, many.nouns),
        "action": (actions[0], actions[1], actions[2]),
    }
    statistics: dict[str, Statistic] = {}
    for kind, (answers, labels, classes) in cases.items():
        statistics[f"many_shot_{kind}_precision"] = partial(
            metrics.class_mean_precision, answers, labels, classes=classes
        )
        statistics[f"many_shot_{kind}_recall"] = partial(
            metrics.class_mean_recall, answers == labels, labels, classes=classes
        )
    return statistics


def _scorer_comparison(
    verb: HeadAnswers,
    noun: HeadAnswers,
    masks: Mapping[str, NDArray[np.bool_]],
    official: Mapping[str, Statistic],
) -> dict[str, Any]:
    """The official values with the public scorer's arithmetic, and the reason for differences."""
    ranks = rank_segments(verb.scores, noun.scores, verb.labels, noun.labels, scorer_compat=True)
    once = np.ones(len(verb))
    theirs = {value.name: value(once) for value in official_values(ranks, masks)}
    differing = [n for n, value in theirs.items() if abs(value - official[n](once)) > 1e-9]
    return {
        "values": theirs,
        "differing": differing,
        "reason": SCORER_REASON if differing else "",
    }
