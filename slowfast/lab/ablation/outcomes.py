"""Hits of the finished runs on the segments that all arms were tested on.

Legend: S seeds, n segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec
from slowfast.datasets.from_cfg import checked_annotations
from slowfast.datasets.registry import SOURCE_REGISTRY, build_source
from slowfast.datasets.types import Segment
from slowfast.evaluation.head_values import answer
from slowfast.evaluation.metric_names import joint_answer
from slowfast.evaluation.predictions import read_predictions, select
from slowfast.lab.ablation.plan import Arm, Plan
from slowfast.lab.ablation.runs import Run, read_record
from slowfast.models.registry import model_spec
from slowfast.utils.errors import UserError


@dataclass(frozen=True)
class ArmOutcome:
    """The finished runs of an arm.

    hits: top-1 by kind, (S, n) bool: one kind per head, then the joint answer of several heads.
    """

    seeds: tuple[int, ...]
    hits: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Outcomes:
    """arms: those with a finished run, by name. subsets: members (n,) bool, by name.

    A segment is seen if its combination of labels occurs in the training data of the arm that the
    others are compared with, else unseen. If all are of one kind, `all` is the only subset.
    """

    arms: dict[str, ArmOutcome]
    subsets: dict[str, NDArray[np.bool_]]


class Labels(NamedTuple):
    """The tested segments of all arms, and the training segments of the base arm.

    heads: of every arm's model, all single-label.
    """

    heads: tuple[HeadSpec, ...]
    tested: list[Segment]
    trained: list[Segment]


def read_labels(plan: Plan) -> Labels:
    """Raises: UserError for annotations that are missing or have no labels."""
    cfg = plan.arm(plan.compare_to).cfg
    spec = model_spec(cfg)
    heads = spec.heads(cfg)
    half = cfg.TRAIN.DATASET if cfg.TRAIN.DATASET in SOURCE_REGISTRY else cfg.EGO.DATASET
    tested, trained = (
        checked_annotations(build_source(name, cfg, split, spec.view), heads).segments
        for name, split in ((cfg.TEST.DATASET, "test"), (half, "train"))
    )
    for key, name, segments in (
        ("TEST.DATASET", cfg.TEST.DATASET, tested),
        ("TRAIN.DATASET", half, trained),
    ):
        for segment in segments:
            if not all(segment.labels):
                raise UserError(
                    f"{key} {name}: segment {segment.segment_id} has no"
                    f" {' or '.join(head.name for head in heads)}; arms are compared by their hits,"
                    " so give labelled annotations"
                )
    return Labels(heads, tested, trained)


def read_outcomes(plan: Plan, runs: Sequence[Run]) -> Outcomes:
    """Raises: UserError if no run that tests is finished, or a file does not fit the segments."""
    labels = read_labels(plan)
    combinations = {segment.labels for segment in labels.trained}
    seen = np.array([segment.labels in combinations for segment in labels.tested])
    subsets = {"all": np.ones(len(seen), dtype=bool)}
    if seen.any() and not seen.all():
        subsets |= {"seen": seen, "unseen": ~seen}
    arms = dict(_arm_outcomes(plan.scored, runs, labels))
    if not arms:
        raise UserError("no run that tests has finished, so nothing can be compared")
    return Outcomes(arms, subsets)


def _arm_outcomes(
    arms: Sequence[Arm], runs: Sequence[Run], labels: Labels
) -> Iterator[tuple[str, ArmOutcome]]:
    for arm in arms:
        finished = [run for run in runs if run.arm is arm and _is_finished(run)]
        if finished:
            hits = [_hits(run, labels) for run in finished]
            stacked = {kind: np.stack([by_kind[kind] for by_kind in hits]) for kind in hits[0]}
            yield arm.name, ArmOutcome(tuple(run.seed for run in finished), stacked)


def _hits(run: Run, labels: Labels) -> dict[str, NDArray[np.bool_]]:
    path = run.folder / run.arm.cfg.TEST.SAVE_PREDICT_PATH
    ids = [segment.segment_id for segment in labels.tested]
    scores = select(read_predictions(path), ids, str(path)).scores
    names = [head.name for head in labels.heads]
    if set(scores) != set(names):
        raise UserError(f"{path} has the heads {list(scores)}, not {names}; run the arm again")
    classes = np.array([segment.labels for segment in labels.tested])[..., 0]
    answered = answer(labels.heads, [scores[name] for name in names], list(classes.T), ranked=True)
    hits = {name: answered.by_head[name].hits for name in names}
    if answered.joint:
        hits[joint_answer(labels.heads)] = answered.joint.in_top(1)
    return hits


def _is_finished(run: Run) -> bool:
    record = read_record(run.folder)
    return record is not None and record.finished
