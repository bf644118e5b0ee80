"""Charades-Ego (ego and exo): the data set `charades_ego`.

Everyday activities, each filmed in first and in third person (arXiv 1804.09626). The published
files:

- `CharadesEgo_v1_{train,test}_only{1st,3rd}.csv`: one row per video, with the columns id, script,
  descriptions, actions, length (seconds) and others. `actions` is `c127 18.93 24.09;c119 0.00
  9.20`: class, first and last second. The first-person video of `005BU` is `005BUEGO`.
- `Charades_v1_classes.txt`: lines such as `c000 Holding some clothes`.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence

from slowfast.config.heads import heads_of
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.pairing.label_map import ClassTable
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
from slowfast.utils.paths import InputPath, join, local_path
from slowfast.utils.text_files import csv_columns, csv_rows, text_lines

logger = logging.getLogger(__name__)

HEADS = ("action",)
_FIX = "use the file as published by Charades-Ego"
_PERSON = {"ego": "1st", "exo": "3rd"}
# Class, first and last second: seconds with at most six digits, within the limits of a video.
_ACTION = re.compile(r"c([0-9]{3})\s+([0-9]{1,6}(?:\.[0-9]*)?)\s+([0-9]{1,6}(?:\.[0-9]*)?)")
_COLUMNS = ("id", "script", "descriptions", "actions", "length")


@register_source("charades_ego", views=("ego", "exo"), heads=HEADS)
class CharadesEgo(DataSource):
    """The videos of a split and view as one segment each.

    A training clip has the actions that occur in its frames; validation and test clips have those
    of the whole video. As in the published evaluation, they leave out videos without an action.
    """

    # Of the published frames.
    frame_rate = 24.0

    def annotations(self) -> Annotations:
        (table,) = self.class_tables()
        self._check_size(table)
        split = "train" if self.split == "train" else "test"
        name = f"CharadesEgo_v1_{split}_only{_PERSON[self.view]}.csv"
        path = join(annotations_folder(self.cfg, self.view), name)
        segments = read_segments(path, table)
        labelled = [segment for segment in segments if segment.labels[0]]
        logger.info(
            "%s: %d videos from %s; %d without an action%s",
            self.split,
            len(segments),
            path,
            len(segments) - len(labelled),
            "" if split == "train" else " are left out",
        )
        return Annotations(segments if split == "train" else labelled, (table.keys,))

    def frames(self, annotations: Annotations) -> VideoStore:
        return video_store(self.cfg, self.view, self.frame_rate, f"charades_ego {self.split}")

    def class_tables(self) -> tuple[ClassTable, ...]:
        folder = annotations_folder(self.cfg, self.view)
        return (read_classes(join(folder, "Charades_v1_classes.txt")),)

    def _check_size(self, table: ClassTable) -> None:
        configured = [head.num_classes for head in heads_of(self.cfg, self.view)]
        if configured != [table.num_classes]:
            section = "EXO" if self.view == "exo" else "MODEL"
            raise UserError(
                f"{section}.NUM_CLASSES_LIST is {configured}, but Charades-Ego has "
                f"{table.num_classes} actions; set it to [{table.num_classes}]"
            )


def read_segments(path: InputPath, table: ClassTable) -> list[Segment]:
    """The videos of a list as segments, in its order; frame numbers count 24 a second.

    The text is the script that was acted, else the first description, else the class names. An
    action that ends before it starts belongs to the video, but to no clip.

    Raises: UserError naming the file, the line and the fix.
    """
    path = local_path(path, "DATA.PATH_TO_DATA_DIR or EXO.PATH_TO_DATA_DIR")
    columns = csv_columns(path, "a list of Charades-Ego", _FIX)
    if missing := [column for column in _COLUMNS if column not in columns]:
        raise UserError(f"{path} has no column {missing[0]}; {_FIX}")
    segments: dict[str, Segment] = {}
    for line, row in csv_rows(path, "a list of Charades-Ego", _FIX):
        where = f"{path}: line {line}"
        video = row["id"].strip()
        if not 0 < len(video) <= ID_CHARACTERS:
            raise UserError(
                f"{where} has the id {video[:20]!r}; give an id of 1 to {ID_CHARACTERS} characters"
            )
        if video in segments:
            raise UserError(f"{where} repeats the id {video}; remove one of the rows")
        span = frame_span(0.0, seconds(row, "length", where), CharadesEgo.frame_rate, where)
        times = _actions(row["actions"], table.num_classes, where)
        labels = tuple(dict.fromkeys(label for label, _, _ in times))
        text = _text(row, labels, table)
        segments[video] = Segment(video, video, "", *span, text, (labels,), (times,))
    return list(segments.values())


def read_classes(path: InputPath) -> ClassTable:
    """The classes; the number after `c` is the class id. Raises: UserError for a malformed file."""
    path = local_path(path, "DATA.PATH_TO_DATA_DIR or EXO.PATH_TO_DATA_DIR")
    names = []
    for line, text in enumerate(text_lines(path, "the class names of Charades", _FIX), 1):
        code, _, name = text.strip().partition(" ")
        if code != f"c{line - 1:03d}" or not name.strip():
            raise UserError(
                f"{path}: line {line} is {text[:40]!r}, not `c{line - 1:03d} NAME`; {_FIX}"
            )
        names.append(name.strip().lower())
    words = {name.replace(" ", "-"): number for number, name in enumerate(names)}
    return ClassTable(words, len(names), tuple(names))


def _actions(cell: str, count: int, where: str) -> tuple[tuple[int, int, int], ...]:
    """(class id, first frame, last frame) of every action of a cell, in its order."""
    actions = []
    for text in filter(None, map(str.strip, cell.split(";"))):
        matched = _ACTION.fullmatch(text)
        if not matched or int(matched[1]) >= count:
            raise UserError(
                f"{where} has the action {text[:40]!r}; write `c127 FIRST LAST` in seconds, with a "
                f"class below {count}"
            )
        first, last = (
            math.floor(float(time) * CharadesEgo.frame_rate + 0.5) for time in matched.groups()[1:]
        )
        actions.append((int(matched[1]), first + 1, last))
    return tuple(actions)


def _text(row: Mapping[str, str], labels: Sequence[int], table: ClassTable) -> str:
    first_description = row["descriptions"].partition(";")[0]
    names = ", ".join(table.keys[label] for label in labels)
    return row["script"].strip() or first_description.strip() or names
