"""The action splits of EGTEA Gaze+ as its authors publish them (`action_annotation.zip`).

- `{train,test}_split{1,2,3}.txt`: one clip per line, `CLIP ACTION VERB NOUN [NOUN ...]`, with ids
  from 1. A clip is called `VIDEO-STARTMS-STOPMS-FSTART-FSTOP`: its times in milliseconds, its first
  and last frame at 24 a second. It is published as `VIDEO/CLIP.mp4`.
- `{action,verb,noun}_idx.txt`: lines `NAME ID`, such as `Take eating_utensil 3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from slowfast.datasets.pairing.label_map import ClassTable
from slowfast.datasets.sources.egtea_rulstm import class_table
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import CLASSES, ID_CHARACTERS
from slowfast.utils.paths import InputPath, join, local_path
from slowfast.utils.text_files import text_lines

_FIX = "take the file from action_annotation.zip of EGTEA Gaze+"
_CLIP = re.compile(r"([\w-]+)-\d{1,9}-\d{1,9}-F(\d{1,9})-F(\d{1,9})", re.ASCII)


def read_segments(
    path: InputPath, tables: tuple[ClassTable, ClassTable, ClassTable]
) -> list[Segment]:
    """The clips of a list as segments of their videos, in its order.

    The narration is the name of the action. tables: the verbs, the nouns and the actions.

    Raises: UserError naming the file, the line and the fix.
    """
    verbs, nouns, actions = tables
    segments: dict[str, Segment] = {}
    for where, cells in _lines(path):
        if len(cells) < 4:
            raise UserError(f"{where} has {len(cells)} cells, not CLIP ACTION VERB NOUN; {_FIX}")
        clip = cells[0]
        video, start, stop = _parts(clip, where)
        if clip in segments:
            raise UserError(f"{where} repeats the clip {clip}; remove one of the lines")
        labels = (
            (_class(cells[2], verbs, "verb", where),),
            tuple(_class(cell, nouns, "noun", where) for cell in cells[3:]),
            (_class(cells[1], actions, "action", where),),
        )
        ((action,),) = labels[2:]
        # Videos are named PARTICIPANT-SESSION-RECIPE.
        participant = video.split("-")[0]
        text = actions.keys[action]
        segments[clip] = Segment(clip, video, participant, start, stop, text, labels)
    return list(segments.values())


def read_tables(folder: InputPath) -> tuple[ClassTable, ClassTable, ClassTable]:
    """The verbs, the nouns and the actions. Raises: UserError for a malformed file."""
    verbs, nouns, actions = (_table(folder, kind) for kind in ("verb", "noun", "action"))
    return verbs, nouns, actions


def _table(folder: InputPath, kind: str) -> ClassTable:
    names: dict[int, str] = {}
    for where, cells in _lines(join(folder, f"{kind}_idx.txt")):
        number = _id(cells[-1])
        if not number or len(cells) < 2:
            raise UserError(f"{where} is {' '.join(cells)[:40]!r}, not NAME ID; {_FIX}")
        if number - 1 in names:
            raise UserError(f"{where} repeats the {kind} id {number}; {_FIX}")
        names[number - 1] = " ".join(cells[:-1]).lower().replace("_", " ").replace(",", ", ")
    return class_table(names)


def _parts(clip: str, where: str) -> tuple[str, int, int]:
    """Video, first and last frame of a clip by its name; frame numbers begin with 1."""
    found = _CLIP.fullmatch(clip) if len(clip) <= ID_CHARACTERS else None
    if not found:
        raise UserError(
            f"{where} has the clip {clip[:80]!r}, not VIDEO-STARTMS-STOPMS-FSTART-FSTOP; {_FIX}"
        )
    start, stop = int(found[2]), int(found[3])
    if stop < start:
        raise UserError(f"{where} has the clip {clip}, which stops before it starts; {_FIX}")
    return found[1], max(start, 1), max(stop, 1)


def _class(cell: str, table: ClassTable, kind: str, where: str) -> int:
    """Class id from 0 of a cell, which counts from 1."""
    number = _id(cell) - 1
    if not 0 <= number < table.num_classes or not table.keys[number]:
        raise UserError(
            f"{where} has the {kind} {cell[:20]!r}, which {kind}_idx.txt does not name; {_FIX}"
        )
    return number


def _id(cell: str) -> int:
    """The number in a cell; 0 if it is not one below the limit."""
    is_number = cell.isascii() and cell.isdecimal() and len(cell) <= len(str(CLASSES))
    return int(cell) if is_number and int(cell) <= CLASSES else 0


def _lines(path: InputPath) -> Iterator[tuple[str, Sequence[str]]]:
    """(file and line, words) of the lines that are not blank."""
    path = local_path(path, "DATA.PATH_TO_DATA_DIR")
    for line, text in enumerate(text_lines(path, "a list of EGTEA Gaze+", _FIX), 1):
        if words := text.split():
            yield f"{path}: line {line}", words
