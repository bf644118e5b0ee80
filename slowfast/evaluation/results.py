"""What `results.json` holds: every value of one test, in percent.

Legend: n segments, K classes of a head, a actions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.evaluation import metrics
from slowfast.evaluation.epic import (
    ManyShot,
    Ranks,
    Subsets,
    official_values,
    rank_segments,
    subset_masks,
)
from slowfast.evaluation.metrics import Statistic
from slowfast.evaluation.ranking import label_ranks, top_class
from slowfast.evaluation.scores import log_softmax
from slowfast.utils.errors import UserError

ACTION_HEADS = ("verb", "noun")
SCORER_REASON = (
    "the public scorer takes one soft-max over all segments together: where some have much larger "
    "scores than the rest, the rest underflows to ties and its actions are lost"
)


@dataclass(frozen=True)
class _Scored:
    """Labelled segments. Per head: scores (n, K), labels (n,), ranks of the labels (n,).

    actions: the ranks of all three kinds where the heads are verb and noun.
    """

    heads: tuple[str, ...]
    scores: list[NDArray]
    labels: list[NDArray[np.int64]]
    ranks: list[NDArray[np.int64]]
    actions: Ranks | None


def recognition_results(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    heads: Sequence[str] = ACTION_HEADS,
    participants: Sequence[str] | None = None,
    subsets: Subsets | None = None,
    many_shot: ManyShot | None = None,
    scorer_compat: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Results of single-label heads.

    scores: per head (n, K), logits or log-probabilities. labels: per head (n,) class ids, -1 where
    a segment is unlabelled: it is counted as such and left out. Heads `verb` and `noun` together
    give the official EPIC values: overall, and on the subsets given. many_shot adds
    EPIC-KITCHENS-55's values. scorer_compat adds the public scorer's own arithmetic.

    Keys: `{head}_top{1,5}`, `action_top{1,5}` (product of probabilities), `action_both_top5` (both
    in the top 5, as published), the same with `chance_` before (a constant answer), `official`,
    `ours`, `segments` (sizes of the subsets), `intervals` (95 %, bootstrap over segments).

    Raises: UserError where a label is beyond the classes of its head.
    """
    arrays = [np.asarray(s) for s in scores]
    classes = [np.asarray(y, dtype=np.int64) for y in labels]
    labelled = np.all([y >= 0 for y in classes], axis=0)
    results: dict[str, Any] = {
        "num_segments": len(labelled),
        "num_unlabelled": int((~labelled).sum()),
        "num_classes": {h: s.shape[1] for h, s in zip(heads, arrays, strict=True)},
    }
    if not labelled.any():
        return results
    scored = _scored(heads, [s[labelled] for s in arrays], [y[labelled] for y in classes])
    chosen = None if participants is None else np.asarray(participants)[labelled]
    masks = _masks(scored, chosen, subsets)
    if masks:
        results["segments"] = {name: int(mask.sum()) for name, mask in masks.items()}
    main, official, ours = _statistics(scored, masks, many_shot)
    if scorer_compat and official:
        results["scorer_compat"] = _scorer_comparison(scored, masks, official)
    once = np.ones(int(labelled.sum()))
    results |= _values(main, once) | _chances(scored)
    results |= {"official": _values(official, once)} if official else {}
    results["ours"] = _values(ours, once)
    results["intervals"] = metrics.bootstrap_intervals(
        main | official | ours, len(once), resamples, seed=seed
    )
    return results


def recognition_statistics(
    scores: Sequence[ArrayLike],
    labels: Sequence[ArrayLike],
    participants: Sequence[str] | None = None,
    subsets: Subsets | None = None,
    many_shot: ManyShot | None = None,
) -> dict[str, Statistic]:
    """The verb and noun values of `recognition_results` by name, for any resample of the segments.

    Arguments as there; every segment must be labelled.
    """
    scored = _scored(
        ACTION_HEADS,
        [np.asarray(s) for s in scores],
        [np.asarray(y, dtype=np.int64) for y in labels],
    )
    chosen = None if participants is None else np.asarray(participants)
    main, official, ours = _statistics(scored, _masks(scored, chosen, subsets), many_shot)
    return main | official | ours


def multilabel_results(
    scores: Sequence[ArrayLike],
    targets: Sequence[ArrayLike],
    heads: Sequence[str] = ACTION_HEADS,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Results of multi-label heads: `{head}_mAP`, their mean `mAP`, chance and intervals.

    scores: per head (n, K). targets: per head multi-hot (n, K). Chance is the average precision
    of a constant score: the mean share of positives over the classes that occur.
    """
    arrays, truths = [np.asarray(s) for s in scores], [np.asarray(y) > 0 for y in targets]
    statistics = {
        f"{head}_mAP": metrics.precision_ranking(s, y)
        for head, s, y in zip(heads, arrays, truths, strict=True)
    }
    num_segments = len(arrays[0])
    values = _values(statistics, np.ones(num_segments))
    chances = {
        f"chance_{head}_mAP": float(100.0 * y.mean(axis=0)[y.any(axis=0)].mean())
        for head, y in zip(heads, truths, strict=True)
    }
    return {
        "num_segments": num_segments,
        "num_classes": {h: s.shape[1] for h, s in zip(heads, arrays, strict=True)},
        **values,
        "mAP": float(np.mean(list(values.values()))),
        **chances,
        "chance_mAP": float(np.mean(list(chances.values()))),
        "intervals": metrics.bootstrap_intervals(statistics, num_segments, resamples, seed=seed),
    }


def read_results(path: Path | str) -> dict[str, Any]:
    """The content of a `results.json`.

    Raises: UserError where it is missing or is no results file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); has the run tested?") from None
    except ValueError as error:
        raise UserError(f"{path}: not a results file ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("num_segments"), int):
        raise UserError(f"{path}: not a results file (no num_segments)")
    return content


def _scored(
    heads: Sequence[str], scores: list[NDArray], labels: list[NDArray[np.int64]]
) -> _Scored:
    for head, s, y in zip(heads, scores, labels, strict=True):
        if y.max() >= s.shape[1]:
            raise UserError(
                f"{head} label {y.max()} is beyond the {s.shape[1]} {head} classes of the scores; "
                "the annotations and the model belong to different data sets"
            )
    if tuple(heads) == ACTION_HEADS:
        pair = rank_segments(scores[0], scores[1], labels[0], labels[1])
        return _Scored(tuple(heads), scores, labels, [pair.verb, pair.noun], pair)
    ranks = [label_ranks(s, y) for s, y in zip(scores, labels, strict=True)]
    return _Scored(tuple(heads), scores, labels, ranks, None)


def _masks(
    scored: _Scored, participants: NDArray | None, subsets: Subsets | None
) -> dict[str, NDArray[np.bool_]]:
    """The official subsets; empty where the heads are not verb and noun."""
    if scored.actions is None:
        return {}
    verbs, nouns = scored.labels
    return subset_masks(verbs, nouns, participants, subsets or Subsets())


def _statistics(
    scored: _Scored, masks: Mapping[str, NDArray[np.bool_]], many_shot: ManyShot | None
) -> tuple[dict[str, Statistic], dict[str, Statistic], dict[str, Statistic]]:
    """Main, official and our values by name."""
    official: dict[str, Statistic] = {}
    ours = _our_statistics(scored)
    if scored.actions is not None:
        official |= {v.name: v for v in official_values(scored.actions, masks)}
        if many_shot is not None:
            ours |= _many_shot_statistics(scored, many_shot)
    return _main_statistics(scored), official, ours


def _main_statistics(scored: _Scored) -> dict[str, Statistic]:
    statistics: dict[str, Statistic] = {}
    for head, ranks in zip(scored.heads, scored.ranks, strict=True):
        statistics |= {f"{head}_top{k}": _rate(ranks < k) for k in (1, 5)}
    if (pair := scored.actions) is not None:
        statistics |= {f"action_top{k}": _rate(pair.action < k) for k in (1, 5)}
        statistics["action_both_top5"] = _rate((pair.verb < 5) & (pair.noun < 5))
    return statistics


def _our_statistics(scored: _Scored) -> dict[str, Statistic]:
    """What is not part of the official protocol: class-mean recall and calibration."""
    confidences = [np.exp(log_softmax(s).max(axis=1)) for s in scored.scores]
    hits, labels = [r < 1 for r in scored.ranks], list(scored.labels)
    names = list(scored.heads)
    if scored.actions is not None:
        names.append("action")
        confidences.append(confidences[0] * confidences[1])
        hits.append(hits[0] & hits[1])
        labels.append(_action_ids(np.stack(scored.labels, axis=1))[0])
    statistics: dict[str, Statistic] = {}
    for name, c, h, y in zip(names, confidences, hits, labels, strict=True):
        statistics[f"{name}_class_mean_recall_at_1"] = _recall(h, y)
        statistics[f"{name}_calibration_error"] = _calibration(c, h)
    return statistics


def _many_shot_statistics(scored: _Scored, many: ManyShot) -> dict[str, Statistic]:
    """Precision and recall of the top answer over the many-shot classes that occur."""
    predicted = [top_class(s) for s in scored.scores]
    actions = _action_ids(
        np.stack(predicted, axis=1), np.stack(scored.labels, axis=1), many.actions
    )
    cases = {
        "verb": (predicted[0], scored.labels[0], many.verbs),
        "noun": (predicted[1], scored.labels[1], many.nouns),
        "action": (actions[0], actions[1], actions[2]),
    }
    statistics: dict[str, Statistic] = {}
    for kind, (answers, labels, classes) in cases.items():
        statistics[f"many_shot_{kind}_precision"] = _precision(answers, labels, classes)
        statistics[f"many_shot_{kind}_recall"] = _recall(answers == labels, labels, classes)
    return statistics


def _action_ids(*pairs: NDArray) -> list[NDArray[np.int64]]:
    """Consecutive ids for the (verb, noun) pairs (., 2) of each array, equal for equal pairs."""
    _, ids = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    return np.split(ids.reshape(-1), np.cumsum([len(p) for p in pairs])[:-1])


def _chances(scored: _Scored) -> dict[str, float]:
    """What a constant answer scores: the share of the most frequent classes."""
    labels = dict(zip(scored.heads, scored.labels, strict=True))
    if scored.actions is not None:
        labels["action"] = _action_ids(np.stack(scored.labels, axis=1))[0]
    chances = {
        f"chance_{name}_top{k}": metrics.most_frequent_share(y, k)
        for name, y in labels.items()
        for k in (1, 5)
    }
    if scored.actions is not None:
        both = [np.isin(y, metrics.most_frequent(y, 5)) for y in scored.labels]
        chances["chance_action_both_top5"] = metrics.rate(both[0] & both[1])
    return chances


def _values(statistics: Mapping[str, Statistic], weights: NDArray) -> dict[str, float]:
    return {name: statistic(weights) for name, statistic in statistics.items()}


def _scorer_comparison(
    scored: _Scored, masks: Mapping[str, NDArray[np.bool_]], official: Mapping[str, Statistic]
) -> dict[str, Any]:
    """The official values by the public scorer's arithmetic; names and reason where they differ."""
    (verb_scores, noun_scores), (verbs, nouns) = scored.scores, scored.labels
    ranks = rank_segments(verb_scores, noun_scores, verbs, nouns, scorer_compat=True)
    once = np.ones(len(verbs))
    ours = _values(official, once)
    theirs = _values({v.name: v for v in official_values(ranks, masks)}, once)
    differing = [name for name, value in theirs.items() if abs(value - ours[name]) > 1e-9]
    return {
        "values": theirs,
        "differing": differing,
        "reason": SCORER_REASON if differing else "",
    }


def _rate(hits: NDArray[np.bool_]) -> Statistic:
    return lambda weights: metrics.rate(hits, weights)


def _recall(hits: NDArray, labels: NDArray, classes: NDArray | None = None) -> Statistic:
    return lambda weights: metrics.class_mean_recall(hits, labels, weights, classes)


def _precision(predicted: NDArray, labels: NDArray, classes: NDArray) -> Statistic:
    return lambda weights: metrics.class_mean_precision(predicted, labels, weights, classes)


def _calibration(confidence: NDArray, hits: NDArray) -> Statistic:
    return lambda weights: metrics.expected_calibration_error(confidence, hits, weights)
