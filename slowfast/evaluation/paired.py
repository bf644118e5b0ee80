"""Paired comparison of runs by segment: their predictions files against one labelled list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from slowfast.evaluation.epic import EpicProtocol
from slowfast.evaluation.metrics import Statistic
from slowfast.evaluation.predictions import for_epic, read_predictions, select
from slowfast.evaluation.results import recognition_statistics


@dataclass(frozen=True)
class LabelledList:
    """The segments that runs were tested on. labels: per head (verb, noun), one class id each."""

    name: str
    ids: Sequence[str]
    labels: Sequence[Sequence[int]]
    protocol: EpicProtocol = field(default_factory=EpicProtocol)


def prediction_statistics(path: Path, labelled: LabelledList) -> dict[str, Statistic]:
    """Statistics of a predictions file, which give its values for any resample of the list.

    Raises: UserError if the file does not fit the list.
    """
    predictions = for_epic(read_predictions(path), str(path))
    predictions = select(predictions, labelled.ids, f"{path} against {labelled.name}")
    scores = list(predictions.scores.values())
    return recognition_statistics(predictions.heads, scores, labelled.labels, labelled.protocol)


def agrees(statistic: Statistic, value: float, num_segments: int) -> bool:
    """Whether a statistic over all segments reproduces the value that the run wrote."""
    return abs(statistic(np.ones(num_segments)) - value) < 1e-6
