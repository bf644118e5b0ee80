"""Hits of the finished runs on the segments that all arms were tested on.

Legend: S seeds, n segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.datasets.types import Segment
from slowfast.evaluation.epic import KINDS, rank_segments
from slowfast.evaluation.predictions import for_epic, read_predictions, select
from slowfast.lab.ablation.plan import Arm, Plan
from slowfast.lab.ablation.runs import Run, read_record
from slowfast.utils.errors import UserError
from slowfast.utils.paths import join


@dataclass(frozen=True)
class ArmOutcome:
    """seeds: of the finished runs. hits: by kind (verb, noun, action), (S, n) bool, top-1."""

    seeds: tuple[int, ...]
    hits: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Outcomes:
    """arms: those with a finished run, by name. subsets: members (n,) bool, by name.

    A segment is seen where its verb-noun combination occurs in the training list of the arm that
    the others are compared with, else unseen. If all are of one kind, `all` is the only subset.
    """

    arms: dict[str, ArmOutcome]
    subsets: dict[str, NDArray[np.bool_]]


class Labels(NamedTuple):
    """Segments of the test list, and of the training list of the base arm."""

    tested: list[Segment]
    trained: list[Segment]


def read_labels(plan: Plan) -> Labels:
    """Raises: UserError for a list that is missing or has no labels."""
    base = plan.arm(plan.compare_to).cfg
    tested, trained = (
        read_segments(
            join(base.DATA.PATH_TO_DATA_DIR, name),
            epic_100=base.DATA.EPIC_100,
            num_classes=base.MODEL.NUM_CLASSES_LIST,
            labelled=True,
        )
        for name in (base.TEST.DATA_LIST, base.TRAIN.TRAIN_DATA_LIST)
    )
    return Labels(tested, trained)


def read_outcomes(plan: Plan, runs: Sequence[Run]) -> Outcomes:
    """Raises: UserError if no run that tests is finished, or a file does not fit the list."""
    segments, trained = read_labels(plan)
    combinations = {_combination(segment) for segment in trained}
    seen = np.array([_combination(segment) in combinations for segment in segments])
    subsets = {"all": np.ones(len(segments), dtype=bool)}
    if seen.any() and not seen.all():
        subsets |= {"seen": seen, "unseen": ~seen}
    arms = dict(_arm_outcomes(plan.scored, runs, segments))
    if not arms:
        raise UserError("no run that tests has finished, so nothing can be compared")
    return Outcomes(arms, subsets)


def _arm_outcomes(
    arms: Sequence[Arm], runs: Sequence[Run], segments: Sequence[Segment]
) -> Iterator[tuple[str, ArmOutcome]]:
    for arm in arms:
        finished = [run for run in runs if run.arm is arm and _is_finished(run)]
        if finished:
            hits = [_hits(run, segments) for run in finished]
            yield (
                arm.name,
                ArmOutcome(
                    tuple(run.seed for run in finished),
                    {kind: np.stack([h[kind] for h in hits]) for kind in KINDS},
                ),
            )


def _hits(run: Run, segments: Sequence[Segment]) -> dict[str, NDArray[np.bool_]]:
    path = run.folder / run.arm.cfg.TEST.SAVE_PREDICT_PATH
    ids = [segment.segment_id for segment in segments]
    predictions = select(for_epic(read_predictions(path), str(path)), ids, str(path))
    verbs, nouns = zip(*(_combination(segment) for segment in segments), strict=True)
    verb, noun = predictions.scores.values()
    ranks = rank_segments(verb, noun, verbs, nouns)
    return {kind: getattr(ranks, kind) < 1 for kind in KINDS}


def _is_finished(run: Run) -> bool:
    record = read_record(run.folder)
    return record is not None and record.finished


def _combination(segment: Segment) -> tuple[int, int]:
    return int(segment.labels[0][0]), int(segment.labels[1][0])
