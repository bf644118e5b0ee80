"""Lists of video segments in CSV, as a spreadsheet writes them: read and checked row by row.

Columns: `video`; `start_sec`, `stop_sec` or `start_frame`, `stop_frame` (without them, or with
empty cells, the whole video); `narration`; one column per kind of label; `participant`, `split`,
`id`. All except `video` are optional.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from slowfast.utils.errors import UserError
from slowfast.utils.limits import FRAMES, ID_CHARACTERS
from slowfast.utils.paths import InputPath, join, local_path
from slowfast.utils.text_files import csv_columns, csv_rows

SPLITS = ("train", "val", "test")
_WHAT = "a list of videos"
_FIX = "save it as CSV with commas and a header (docs/data.md)"
_TIMES = {"sec": ("start_sec", "stop_sec"), "frame": ("start_frame", "stop_frame")}
# Between several labels in one cell.
_SEPARATOR = ";"


@dataclass(frozen=True)
class Row:
    """One segment of a list, as written.

    where: file and line, for errors. start, stop: seconds, or frame numbers from 1 with both
        included; None: the whole video. split: "" if the list has no such column.
    labels: per column the names in its cell, as spelled; none if the cell is empty.
    """

    where: str
    segment_id: str
    video: str
    participant: str
    split: str
    start: float | None
    stop: float | None
    narration: str
    labels: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class VideoList:
    """A list of segments. in_frames: its times are frame numbers of the videos, not seconds."""

    path: InputPath
    in_frames: bool
    rows: tuple[Row, ...]


def read_video_list(
    path: InputPath, key: str, label_columns: Sequence[str], heads_key: str, *, labelled: bool
) -> VideoList:
    """The rows of a list (a path or a URL), in its order.

    key, heads_key: config keys of the list and of its label columns, for errors.
    labelled: the label columns must be there; otherwise a missing one counts as empty.

    Raises: UserError that names the file, the column or line, and the fix.
    """
    file = local_path(path, key)
    fix = f"{_FIX}, or set {key}"
    columns = [name.strip() for name in csv_columns(file, _WHAT, fix)]
    _check_columns(path, columns, label_columns, heads_key, labelled)
    unit = next((unit for unit, times in _TIMES.items() if times[0] in columns), "sec")
    rows: list[Row] = []
    lines: dict[str, str] = {}
    for line, cells in csv_rows(file, _WHAT, "give every line as many cells as the header"):
        where = f"{path}: line {line}"
        # DictReader collects cells beyond the header under None.
        if None in cells:
            raise UserError(
                f"{where} has more cells than the header; put quotes around a cell with commas"
            )
        named = {name.strip(): cell for name, cell in cells.items()}
        row = _row(where, named, unit, label_columns, len(rows))
        if row.segment_id in lines:
            raise UserError(
                f"{where} has the id {row.segment_id}, which {lines[row.segment_id]} has too;"
                " give each row a different id"
            )
        lines[row.segment_id] = f"line {line}"
        rows.append(row)
    if not rows:
        raise UserError(f"{path} has a header but no rows; add one row per segment")
    return VideoList(path, unit == "frame", tuple(rows))


def read_video_lists(
    folder: InputPath,
    names: str,
    key: str,
    label_columns: Sequence[str],
    heads_key: str,
    *,
    labelled: bool,
) -> VideoList:
    """Several lists as one, in their order.

    names: the lists below `folder`, separated by commas; other arguments as `read_video_list`.

    Raises: UserError as `read_video_list`, for an id in two lists, and for lists that mix seconds
    and frame numbers.
    """
    lists = [
        read_video_list(
            join(folder, name.strip()), key, label_columns, heads_key, labelled=labelled
        )
        for name in names.split(",")
    ]
    seen: dict[str, str] = {}
    for row in (row for one in lists for row in one.rows):
        if row.segment_id in seen:
            raise UserError(
                f"{row.where} has the id {row.segment_id}, which {seen[row.segment_id]} has too;"
                f" give each row a different id, or set {key} to lists that do not overlap"
            )
        seen[row.segment_id] = row.where
    if len({one.in_frames for one in lists}) > 1:
        raise UserError(
            f"{key} {names} has lists in seconds and lists in frames; use one of them for all"
        )
    rows = tuple(row for one in lists for row in one.rows)
    return VideoList(lists[0].path if len(lists) == 1 else names, lists[0].in_frames, rows)


def _check_columns(
    path: InputPath,
    columns: Sequence[str],
    label_columns: Sequence[str],
    heads_key: str,
    labelled: bool,
) -> None:
    names = ", ".join(columns)
    repeated = [name for name, count in Counter(columns).items() if name and count > 1]
    if repeated:
        raise UserError(f"{path} has the column {repeated[0]} twice; remove or rename one of them")
    if "video" not in columns:
        if any(_SEPARATOR in name for name in columns):
            raise UserError(f"{path} is separated by semicolons; save it with commas")
        raise UserError(f"{path} has no column video; its columns are {names}; rename one")
    for start, stop in _TIMES.values():
        if (start in columns) != (stop in columns):
            lacking = stop if start in columns else start
            raise UserError(
                f"{path} has no column {lacking}; give both {start} and {stop}, or neither for "
                "whole videos"
            )
    if all(times[0] in columns for times in _TIMES.values()):
        raise UserError(
            f"{path} has times in seconds and in frames; remove start_sec and stop_sec, or"
            " start_frame and stop_frame"
        )
    missing = [name for name in label_columns if name not in columns]
    if missing and labelled:
        raise UserError(
            f"{path} has no column {missing[0]}, which {heads_key} names; its columns are {names};"
            f" set {heads_key} to its label columns"
        )


def _row(
    where: str, cells: dict[str, str], unit: str, label_columns: Sequence[str], number: int
) -> Row:
    def cell(name: str) -> str:
        return cells.get(name, "").strip()

    video = cell("video").replace("\\", "/")
    if not video or video in (".", "/"):
        raise UserError(f"{where} has no video; name a file or a folder below the root")
    video = str(PurePosixPath(video))
    split = cell("split")
    if "split" in cells and split not in SPLITS:
        raise UserError(f"{where} has split {split!r}; use {', '.join(SPLITS)}")
    segment_id = cell("id") or f"{video}_{number}"
    if len(segment_id) > ID_CHARACTERS:
        raise UserError(f"{where} has an id above {ID_CHARACTERS} characters; shorten it")
    start, stop = _times(where, cells, unit)
    labels = tuple(_names(cells.get(name, "")) for name in label_columns)
    narration, participant = cell("narration"), cell("participant")
    return Row(where, segment_id, video, participant, split, start, stop, narration, labels)


def _names(cell: str) -> tuple[str, ...]:
    """The labels in a cell. A single label keeps its spaces, so that differences are noticed."""
    if _SEPARATOR not in cell:
        return (cell,) if cell.strip() else ()
    parts = (part.strip() for part in cell.split(_SEPARATOR))
    return tuple(dict.fromkeys(part for part in parts if part))


def _times(where: str, cells: dict[str, str], unit: str) -> tuple[float | None, float | None]:
    names = _TIMES[unit]
    texts = [cells.get(name, "").strip() for name in names]
    if not any(texts):
        return None, None
    start, stop = (_time(where, name, text, unit) for name, text in zip(names, texts, strict=True))
    if stop < start or (unit == "sec" and stop == start):
        raise UserError(
            f"{where} has {names[1]} {texts[1]}, which is not after {names[0]} {texts[0]};"
            " swap or correct them"
        )
    return start, stop


def _time(where: str, name: str, text: str, unit: str) -> float:
    try:
        value = float(text) if unit == "sec" else int(text)
    except ValueError:
        value = math.nan
    if unit == "sec" and not 0 <= value < FRAMES:
        raise UserError(f"{where} has {name} {text!r}; give seconds from 0, such as 12.5")
    if unit == "frame" and not 1 <= value < FRAMES:
        raise UserError(f"{where} has {name} {text!r}; give the number of a frame, from 1")
    return value
