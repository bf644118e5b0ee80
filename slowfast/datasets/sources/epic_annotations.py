"""Segments of EPIC-KITCHENS frame lists: columns, ids, frames and labels, checked.

Facts about the lists: EPIC-KITCHENS-100 identifies rows by narration_id, EPIC-KITCHENS-55 by uid;
start_frame and stop_frame are 1-based and both inclusive; test lists may come without labels.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slowfast.datasets.sources.frame_lists import AS_PUBLISHED, LIST_KEY, read_table
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import FRAMES, ID_CHARACTERS
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.reading import reading

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

ID_COLUMN_100 = "narration_id"
ID_COLUMN_55 = "uid"
LABEL_COLUMNS = ("verb_class", "noun_class")
# Cells of a test list that mean no label, in lower case, as pandas and spreadsheets write them.
_ABSENT = frozenset(("", "-1", "-1.0", "nan", "-nan", "none", "null", "na", "n/a", "#n/a", "<na>"))
_PLACE_COLUMNS = ("participant_id", "video_id", "start_frame", "stop_frame")


def read_segments(
    path: InputPath, *, epic_100: bool, num_classes: Sequence[int], labelled: bool
) -> list[Segment]:
    """The segments of a frame list (a path or a URL), in its order.

    epic_100: the list is EPIC-KITCHENS-100's, else EPIC-KITCHENS-55's.
    num_classes: verbs, nouns; ids must be smaller.
    labelled: the list must have labels; otherwise labels are optional.

    Raises: UserError naming the file, the column or row, and the fix.
    """
    path = local_path(path, LIST_KEY)
    table = read_table(path)
    with reading(path, "a frame list", AS_PUBLISHED):
        return _segments(path, table, epic_100, num_classes, labelled)


def _segments(
    path: Path, table: pd.DataFrame, epic_100: bool, num_classes: Sequence[int], labelled: bool
) -> list[Segment]:
    id_column = ID_COLUMN_100 if epic_100 else ID_COLUMN_55
    if table.index.name == id_column and id_column not in table.columns:
        table = table.reset_index()
    _check_columns(path, table, id_column, epic_100, labelled)
    ids = _texts(path, table, id_column)
    if len(set(ids)) < len(ids):
        repeated = Counter(ids).most_common(1)[0][0]
        raise UserError(f"{path}: {id_column} {repeated} is in several rows; remove all but one")
    start, stop = (_integers(path, table, name, ids) for name in ("start_frame", "stop_frame"))
    for name, first, last in zip(ids, start, stop, strict=True):
        if last < first:
            raise UserError(f"{path}: row {name} has stop_frame {last} before start_frame {first}")
    narrations = [""] * len(ids)
    if "narration" in table.columns:
        narrations = ["" if n is None or n != n else str(n) for n in table["narration"]]
    return [
        Segment(*fields)
        for fields in zip(
            ids,
            _texts(path, table, "video_id"),
            _texts(path, table, "participant_id"),
            start,
            stop,
            narrations,
            _labels(path, table, ids, num_classes, labelled),
            strict=True,
        )
    ]


def read_segments_of(
    paths: Sequence[InputPath], *, epic_100: bool, num_classes: Sequence[int], labelled: bool
) -> list[Segment]:
    """The segments of several lists, one after the other; arguments as `read_segments`.

    Raises: UserError as `read_segments`, and for an id that two lists have.
    """
    segments: list[Segment] = []
    seen: dict[str, InputPath] = {}
    for path in paths:
        found = read_segments(path, epic_100=epic_100, num_classes=num_classes, labelled=labelled)
        for segment in found:
            if segment.segment_id in seen:
                raise UserError(
                    f"{path} has the segment {segment.segment_id}, which "
                    f"{seen[segment.segment_id]} has too; name lists that do not overlap"
                )
            seen[segment.segment_id] = path
        segments += found
    return segments


def _check_columns(
    path: Path, table: pd.DataFrame, id_column: str, epic_100: bool, labelled: bool
) -> None:
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise UserError(f"frame list {path} has the column {twice} twice; remove one")
    wanted = (id_column, *_PLACE_COLUMNS, *(LABEL_COLUMNS if labelled else ()))
    for column in wanted:
        if column in table.columns:
            continue
        if column == id_column:
            fix = f"DATA.EPIC_100 is {epic_100}: set it to match the list, or fix the list"
        elif column in LABEL_COLUMNS:
            fix = "a list without labels can only be tested; use an action-label list"
        else:
            fix = "use the list as published by EPIC-KITCHENS"
        raise UserError(f"frame list {path} has no column {column}; {fix}")


def _texts(path: Path, table: pd.DataFrame, column: str) -> list[str]:
    """The ids in a column; numbers, as those of EPIC-KITCHENS-55, become text."""
    texts = [
        str(cell) if isinstance(cell, (str, int, np.integer)) else "" for cell in table[column]
    ]
    for row, text in enumerate(texts, 1):
        if not text or len(text) > ID_CHARACTERS:
            raise UserError(
                f"{path}: row {row} has the {column} {text[:20]!r}; give an id of 1 to "
                f"{ID_CHARACTERS} characters"
            )
    return texts


def _integers(path: Path, table: pd.DataFrame, column: str, ids: Sequence[str]) -> list[int]:
    import pandas as pd

    numbers = pd.to_numeric(table[column], errors="coerce")
    whole = numbers.notna() & (numbers % 1 == 0) & (numbers.abs() < FRAMES)
    if not whole.all():
        row = int((~whole).to_numpy().argmax())
        raise UserError(
            f"{path}: row {ids[row]} has {column} {table[column].iloc[row]!r}, not a whole number"
        )
    return [int(number) for number in numbers]


def _labels(
    path: Path,
    table: pd.DataFrame,
    ids: Sequence[str],
    num_classes: Sequence[int],
    labelled: bool,
) -> list[tuple[tuple[int, ...], ...]]:
    """Per row the class of every head; blank, -1 and NaN mean that a row has no class.

    Raises: UserError for a class outside the head's, and for a row without one if `labelled`.
    """
    per_head: list[list[tuple[int, ...]]] = []
    for column, count in zip(LABEL_COLUMNS, num_classes, strict=True):
        if column not in table.columns:
            logger.info("%s has no column %s: its rows are treated as unlabelled", path, column)
            per_head.append([()] * len(ids))
            continue
        cells = table[column]
        absent = _is_absent(cells)
        if absent.any():
            first, number = ids[int(absent.argmax())], int(absent.sum())
            if labelled:
                raise UserError(
                    f"{path}: {number} rows have no {column}, the first of them {first}; label "
                    "or remove them"
                )
            logger.info("%s: %d of %d rows have no %s", path, number, len(ids), column)
        known = table[~absent]
        names = [name for name, missing in zip(ids, absent, strict=True) if not missing]
        classes = _integers(path, known, column, names)
        for name, label in zip(names, classes, strict=True):
            if not 0 <= label < count:
                raise UserError(
                    f"{path}: row {name} has {column} {label}, outside the {count} classes of "
                    "MODEL.NUM_CLASSES_LIST; set the key to the class counts of the list"
                )
        labels = iter(classes)
        per_head.append([() if missing else (next(labels),) for missing in absent])
    return list(zip(*per_head, strict=True))


def _is_absent(cells: pd.Series) -> np.ndarray:
    """Whether each cell is blank, -1 or a word for no value: (n,) bool."""
    return np.array([str(cell).strip().lower() in _ABSENT for cell in cells])
