"""EgoExoLearn (ego and exo): the data set `egoexolearn`.

First-person and third-person recordings of the same procedures by different people (arXiv
2403.16182). The files, as published in the repository OpenGVLab/EgoExoLearn:

- `{ego,exo}_{train,val}_valid.csv`: video_id, annotation_id, start_sec, end_sec, verb, noun,
  scenario; verb and noun are lists of class ids, which may be empty.
- `narration_{verb,noun}_taxonomy.csv`: label, group; the row number, from 0, is the class id.
- Narrations, if there: `exo_{train,val}.csv`, or `fine_annotation_trainval_en.csv`.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from slowfast.config.heads import heads_of
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.pairing.label_map import ClassTable, synonyms
from slowfast.datasets.registry import DataSource, register_source
from slowfast.datasets.sources.timed_videos import (
    annotations_folder,
    frame_span,
    seconds,
    video_store,
)
from slowfast.datasets.types import Annotations, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import ID_CHARACTERS
from slowfast.utils.paths import InputPath, join, local_path, optional_path
from slowfast.utils.text_files import csv_columns, csv_rows

logger = logging.getLogger(__name__)

HEADS = ("verb", "noun")
_FIX = "use the file as published by EgoExoLearn"
_COLUMNS = ("video_id", "annotation_id", "start_sec", "end_sec", *HEADS, "scenario")
_NARRATION = "narration_en"
_ID_COLUMNS = ("annotation_id", "annotation_uid")


@register_source("egoexolearn", views=("exo", "ego"), heads=HEADS)
class EgoExoLearn(DataSource):
    """The segments of a split and view, with any number of verbs and nouns each.

    A single-label head is trained on the first label. A test reads the validation split.
    """

    frame_rate = 30.0

    def annotations(self) -> Annotations:
        folder = annotations_folder(self.cfg, self.view)
        tables = self.class_tables()
        self._check_sizes(tables)
        split = "train" if self.split == "train" else "val"
        path = join(folder, f"{self.view}_{split}_valid.csv")
        narrations = read_narrations(folder, self.view, split)
        segments = read_segments(path, tables, narrations)
        written = sum(segment.segment_id in narrations for segment in segments)
        logger.info(
            "%s: %d segments from %s; %d have a narration, the others use their class names",
            self.split,
            len(segments),
            path,
            written,
        )
        return Annotations(segments, tuple(table.keys for table in tables))

    def frames(self, annotations: Annotations) -> VideoStore:
        return video_store(self.cfg, self.view, self.frame_rate, f"egoexolearn {self.split}")

    def class_tables(self) -> tuple[ClassTable, ...]:
        folder = annotations_folder(self.cfg, self.view)
        return tuple(
            read_taxonomy(join(folder, f"narration_{head}_taxonomy.csv")) for head in HEADS
        )

    def _check_sizes(self, tables: Sequence[ClassTable]) -> None:
        sizes = [table.num_classes for table in tables]
        configured = [head.num_classes for head in heads_of(self.cfg, self.view)]
        if configured != sizes:
            section = "EXO" if self.view == "exo" else "MODEL"
            raise UserError(
                f"{section}.NUM_CLASSES_LIST is {configured}, but EgoExoLearn's taxonomies have "
                f"{sizes} classes; set it to {sizes}"
            )


def read_segments(
    path: InputPath, tables: Sequence[ClassTable], narrations: Mapping[str, str]
) -> list[Segment]:
    """The segments of a list, in its order; frame numbers count 30 a second.

    narrations: by annotation id; a segment without one gets the names of its classes as text.

    Raises: UserError naming the file, the line and the fix.
    """
    path = _local(path)
    _check_columns(path, _COLUMNS)
    segments: dict[str, Segment] = {}
    for line, row in csv_rows(path, "a list of EgoExoLearn", _FIX):
        where = f"{path}: line {line}"
        name, video = (_id(row, column, where) for column in ("annotation_id", "video_id"))
        if name in segments:
            raise UserError(f"{where} repeats annotation_id {name}; remove one of the rows")
        times = [seconds(row, column, where) for column in ("start_sec", "end_sec")]
        span = frame_span(times[0], times[1], EgoExoLearn.frame_rate, where)
        labels = tuple(
            _classes(row[head], table.num_classes, f"{where}: {head}")
            for head, table in zip(HEADS, tables, strict=True)
        )
        text = narrations.get(name) or class_text(labels, tables, row["scenario"])
        segments[name] = Segment(name, video, "", *span, text, labels)
    return list(segments.values())


def read_narrations(folder: InputPath, view: str, split: str) -> dict[str, str]:
    """English narration by annotation id; {} if the folder has no file of narrations."""
    for name in (f"{view}_{split}.csv", "fine_annotation_trainval_en.csv"):
        path = optional_path(join(folder, name), _key(view))
        if path is None:
            continue
        columns = csv_columns(path, "narrations of EgoExoLearn", _FIX)
        column = next((column for column in _ID_COLUMNS if column in columns), None)
        if column is None or _NARRATION not in columns:
            raise UserError(
                f"{path} has no column {_NARRATION if column else _ID_COLUMNS[0]}; {_FIX}"
            )
        rows = csv_rows(path, "narrations of EgoExoLearn", _FIX)
        return {row[column]: row[_NARRATION].strip() for _, row in rows}
    return {}


def read_taxonomy(path: InputPath) -> ClassTable:
    """The classes of one kind; a row's number, from 0, is the class id.

    Raises: UserError for a missing or malformed file.
    """
    path = _local(path)
    _check_columns(path, ("label", "group"))
    keys: dict[str, int] = {}
    words: dict[str, int] = {}
    for line, row in csv_rows(path, "a taxonomy of EgoExoLearn", _FIX):
        key, number = row["label"].strip().lower(), len(keys)
        if not key or key in keys:
            raise UserError(
                f"{path}: line {line} has the label {key!r}, which is empty or repeated; {_FIX}"
            )
        keys[key] = number
        for word in (*synonyms(key), *_literal(row["group"], f"{path}: line {line}: group")):
            words.setdefault(str(word).strip().lower().replace(" ", "-"), number)
    if not keys:
        raise UserError(f"{path} has no rows; {_FIX}")
    return ClassTable({**words, **keys}, len(keys), tuple(keys))


def class_text(labels: Sequence[Sequence[int]], tables: Sequence[ClassTable], scenario: str) -> str:
    """The names of the classes as text (`cut hold knife meat`); the scenario without any."""
    names = [
        synonyms(table.keys[label])[0].replace("_", " ")
        for classes, table in zip(labels, tables, strict=True)
        for label in classes
    ]
    return " ".join(names) or scenario


def _classes(cell: str, count: int, where: str) -> tuple[int, ...]:
    """Distinct class ids of a cell, in its order."""
    classes = _literal(cell, where)
    ids = [label for label in classes if isinstance(label, int) and 0 <= label < count]
    if len(ids) < len(classes):
        raise UserError(
            f"{where} is {cell[:80]!r}; give ids below {count}, the row count of the taxonomy"
        )
    return tuple(dict.fromkeys(ids))


def _literal(cell: str, where: str) -> list[object]:
    try:
        found = ast.literal_eval(cell)
    except Exception:  # a literal can be anything, and nested at any depth
        found = None
    if not isinstance(found, list):
        raise UserError(f"{where} is {cell[:80]!r}, not a list; {_FIX}")
    return found


def _id(row: Mapping[str, str], column: str, where: str) -> str:
    text = row[column].strip()
    if not 0 < len(text) <= ID_CHARACTERS:
        raise UserError(
            f"{where} has the {column} {text[:20]!r}; give an id of 1 to {ID_CHARACTERS} characters"
        )
    return text


def _check_columns(path: Path, wanted: Sequence[str]) -> None:
    columns = csv_columns(path, "a file of EgoExoLearn", _FIX)
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise UserError(f"{path} has no column {missing[0]}; {_FIX}")


def _local(path: InputPath) -> Path:
    return local_path(path, "DATA.PATH_TO_DATA_DIR or EXO.PATH_TO_DATA_DIR")


def _key(view: str) -> str:
    return f"{'EXO' if view == 'exo' else 'DATA'}.PATH_TO_DATA_DIR"
