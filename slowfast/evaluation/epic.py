"""The official EPIC-KITCHENS recognition metrics, and the tables that they depend on.

Legend: n segments, V and M verb and noun classes. An action is a (verb, noun) pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slowfast.evaluation.metrics import rate
from slowfast.evaluation.ranking import action_ranks, label_ranks, scorer_action_ranks
from slowfast.utils.errors import UserError
from slowfast.utils.limits import CLASSES
from slowfast.utils.paths import InputPath, join, local_path, optional_path
from slowfast.utils.text_files import csv_columns, csv_rows

KINDS = ("verb", "noun", "action")
MANY_SHOT_ROWS = 100

# Published names of the annotation files, and the column that is read.
TAIL_VERBS = ("EPIC_100_tail_verbs.csv", "verb")
TAIL_NOUNS = ("EPIC_100_tail_nouns.csv", "noun")
UNSEEN = ("EPIC_100_unseen_participant_ids_{split}.csv", "participant_id")
EPIC_55_TRAINING = "EPIC_train_action_labels.csv"
_WHAT, _FIX = "a table of EPIC-KITCHENS", "use the file as published by EPIC-KITCHENS"


@dataclass(frozen=True)
class Subsets:
    """Tail classes and unseen participants; the values of an empty set are left out."""

    tail_verbs: frozenset[int] = frozenset()
    tail_nouns: frozenset[int] = frozenset()
    unseen_participants: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ManyShot:
    """Classes with more than MANY_SHOT_ROWS training rows (EPIC-KITCHENS-55).

    actions: (a, 2) pairs of a many-shot verb and a many-shot noun that occur in training.
    """

    verbs: NDArray[np.int64]
    nouns: NDArray[np.int64]
    actions: NDArray[np.int64]


@dataclass(frozen=True)
class EpicProtocol:
    """Input of the EPIC-KITCHENS protocol in addition to scores and labels.

    participants: participant of every segment; None leaves out the values on unseen ones.
    many_shot: many-shot classes; adds the values of EPIC-KITCHENS-55.
    scorer_compat: adds the official values computed with the public scorer's arithmetic.
    """

    participants: Sequence[str] | None = None
    subsets: Subsets = Subsets()
    many_shot: ManyShot | None = None
    scorer_compat: bool = False

    def of_rows(self, rows: NDArray[np.bool_]) -> EpicProtocol:
        """The protocol for a subset of the segments, rows (n,)."""
        if self.participants is None:
            return self
        return replace(self, participants=np.asarray(self.participants)[rows].tolist())


@dataclass(frozen=True)
class Ranks:
    """0-based ranks (n,) of the true verb, noun and action."""

    verb: NDArray[np.int64]
    noun: NDArray[np.int64]
    action: NDArray[np.int64]


@dataclass(frozen=True)
class OfficialValue:
    """An official value: the share of hits (n,) among the segments of mask (n,)."""

    name: str
    hits: NDArray[np.bool_]
    mask: NDArray[np.bool_]

    def __call__(self, weights: NDArray) -> float:
        """The value, in percent, of a resample (metrics.Statistic)."""
        return rate(self.hits, weights * self.mask)


def rank_segments(
    verb_scores: ArrayLike,
    noun_scores: ArrayLike,
    verbs: ArrayLike,
    nouns: ArrayLike,
    scorer_compat: bool = False,
) -> Ranks:
    """Ranks of labels (n,) in scores (n, V), (n, M), which are logits or log-probabilities.

    scorer_compat: rank actions with the public scorer's soft-max over the whole array instead of
    one per segment; verbs and nouns do not depend on it.
    """
    rank_actions = scorer_action_ranks if scorer_compat else action_ranks
    return Ranks(
        verb=label_ranks(verb_scores, verbs),
        noun=label_ranks(noun_scores, nouns),
        action=rank_actions(verb_scores, noun_scores, verbs, nouns),
    )


def subset_masks(
    verbs: ArrayLike, nouns: ArrayLike, participants: ArrayLike | None, subsets: Subsets
) -> dict[str, NDArray[np.bool_]]:
    """Members of each subset (n,): all, unseen, tail_verb, tail_noun, tail_action.

    An empty subset is left out.
    """
    verbs, nouns = np.asarray(verbs), np.asarray(nouns)
    masks = {"all": np.ones(len(verbs), dtype=bool)}
    if participants is not None:
        masks["unseen"] = np.isin(np.asarray(participants), sorted(subsets.unseen_participants))
    if subsets.tail_verbs and subsets.tail_nouns:
        masks["tail_verb"] = np.isin(verbs, sorted(subsets.tail_verbs))
        masks["tail_noun"] = np.isin(nouns, sorted(subsets.tail_nouns))
        masks["tail_action"] = masks["tail_verb"] | masks["tail_noun"]
    return {name: mask for name, mask in masks.items() if mask.any()}


def official_values(ranks: Ranks, masks: Mapping[str, NDArray[np.bool_]]) -> list[OfficialValue]:
    """The values of the public scorer; 12 if every subset has segments.

    `all_{kind}_accuracy_at_{1,5}`, `unseen_{kind}_accuracy_at_1`, `tail_{kind}_accuracy_at_1`.
    """
    values = []
    for subset, ks in (("all", (1, 5)), ("unseen", (1,)), ("tail", (1,))):
        for kind in KINDS:
            mask = masks.get(f"tail_{kind}" if subset == "tail" else subset)
            if mask is None:
                continue
            rank = getattr(ranks, kind)
            values += [
                OfficialValue(f"{subset}_{kind}_accuracy_at_{k}", rank < k, mask) for k in ks
            ]
    return values


def many_shot(training_verbs: ArrayLike, training_nouns: ArrayLike) -> ManyShot:
    """Classes with more than MANY_SHOT_ROWS rows among the training labels (m,), (m,)."""
    verbs, nouns = _frequent(training_verbs), _frequent(training_nouns)
    pairs = np.stack([np.asarray(training_verbs), np.asarray(training_nouns)], axis=1)
    pairs = pairs[np.isin(pairs[:, 0], verbs) & np.isin(pairs[:, 1], nouns)]
    return ManyShot(verbs, nouns, np.unique(pairs, axis=0).astype(np.int64))


def read_subsets(
    folder: InputPath | None = None,
    split: str = "validation",
    tail_verbs: InputPath | None = None,
    tail_nouns: InputPath | None = None,
    unseen: InputPath | None = None,
) -> Subsets:
    """Read the tables given by path, and the others under their public names from `folder`.

    A table without a path may be missing from the folder.
    split: validation or test, part of the public name of the unseen participants.
    Raises: UserError if a given table is missing or lacks its column.
    """
    return Subsets(
        tail_verbs=_class_ids(_table(tail_verbs, folder, TAIL_VERBS[0]), TAIL_VERBS[1]),
        tail_nouns=_class_ids(_table(tail_nouns, folder, TAIL_NOUNS[0]), TAIL_NOUNS[1]),
        unseen_participants=frozenset(
            _column(_table(unseen, folder, UNSEEN[0].format(split=split)), UNSEEN[1])
        ),
    )


def read_many_shot(
    folder: InputPath | None = None, training: InputPath | None = None
) -> ManyShot | None:
    """Many-shot classes from EPIC-KITCHENS-55's training list, given or in `folder`.

    None if there is no list. Raises: UserError if a given list is missing or lacks a column.
    """
    path = _table(training, folder, EPIC_55_TRAINING)
    if path is None:
        return None
    verbs, nouns = (_numbers(path, column) for column in ("verb_class", "noun_class"))
    return many_shot(verbs, nouns)


def _frequent(labels: ArrayLike) -> NDArray[np.int64]:
    classes, counts = np.unique(np.asarray(labels, dtype=np.int64), return_counts=True)
    return classes[counts > MANY_SHOT_ROWS]


def _table(given: InputPath | None, folder: InputPath | None, name: str) -> Path | None:
    if given is not None:
        return local_path(given, f"the option for {name}")
    if folder is None:
        return None
    return optional_path(join(folder, name), "DATA.PATH_TO_DATA_DIR or --annotations")


def _class_ids(path: Path | None, column: str) -> frozenset[int]:
    return frozenset(_numbers(path, column))


def _numbers(path: Path | None, column: str) -> list[int]:
    values = list(_column(path, column))
    numbers = [int(v) if v.isdecimal() and len(v) <= len(str(CLASSES)) else -1 for v in values]
    if not all(0 <= number < CLASSES for number in numbers):
        raise UserError(f"{path}: column {column} must hold class ids (whole numbers)")
    return numbers


def _column(path: Path | None, column: str) -> Iterator[str]:
    if path is None:
        return
    columns = csv_columns(path, _WHAT, _FIX)
    if column not in columns:
        raise UserError(f"{path}: no column {column}; its columns are {columns}")
    for _, row in csv_rows(path, _WHAT, _FIX):
        yield row[column].strip()
