"""The action splits of EGTEA Gaze+ as RU-LSTM (arXiv 1905.09035) publishes them.

Lists without a header: id, video, start frame, stop frame, verb, noun, action, with frames counted
30 a second; `actions.csv` next to them: action, `VERB_NOUN` ids, name (`Turn on_faucet`).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping

from slowfast.datasets.pairing.label_map import ClassTable
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import CLASSES, FRAMES, ID_CHARACTERS
from slowfast.utils.paths import InputPath, join, local_path
from slowfast.utils.reading import reading
from slowfast.utils.text_files import check_csv

_FIX = "take the file as RU-LSTM publishes it for EGTEA Gaze+"
_LIST_CELLS = 7
_TABLE_CELLS = 3


def read_segments(
    path: InputPath, tables: tuple[ClassTable, ClassTable, ClassTable]
) -> list[Segment]:
    """The segments of a list, in its order; the narration is the name of the action.

    tables: the verbs, the nouns and the actions.

    Raises: UserError naming the file, the line and the fix.
    """
    segments: dict[str, Segment] = {}
    for where, row in _rows(path, _LIST_CELLS):
        name, video = row[0], row[1]
        if not 0 < len(name) <= ID_CHARACTERS or not 0 < len(video) <= ID_CHARACTERS:
            raise UserError(f"{where} has no id or no video; {_FIX}")
        if name in segments:
            raise UserError(f"{where} repeats the id {name}; remove one of the rows")
        start, stop = (
            _number(cell, FRAMES, f"{where}: {name}")
            for name, cell in zip(("start frame", "stop frame"), row[2:4], strict=True)
        )
        if stop < start:
            raise UserError(f"{where} has stop frame {stop} before start frame {start}")
        labels = tuple(
            (_number(cell, table.num_classes, f"{where}: {kind}"),)
            for kind, cell, table in zip(("verb", "noun", "action"), row[4:], tables, strict=True)
        )
        ((action,),) = labels[2:]
        text = tables[2].keys[action]
        # Videos are named PARTICIPANT-SESSION-RECIPE; numbers of the lists may begin with 0.
        participant = video.split("-")[0]
        first = max(start, 1)
        segments[name] = Segment(name, video, participant, first, max(stop, first), text, labels)
    return list(segments.values())


def read_tables(folder: InputPath) -> tuple[ClassTable, ClassTable, ClassTable]:
    """The verbs, the nouns and the actions. Raises: UserError for a malformed file."""
    path = join(folder, "actions.csv")
    names: tuple[dict[int, str], ...] = ({}, {}, {})
    for where, row in _rows(path, _TABLE_CELLS):
        verb, _, noun = row[1].partition("_")
        verb_name, _, noun_name = row[2].partition("_")
        noun_name = noun_name.replace("_", " ")
        texts = (verb_name, noun_name, f"{verb_name} {noun_name}".strip())
        for known, cell, text in zip(names, (verb, noun, row[0]), texts, strict=True):
            number = _number(cell, CLASSES, where)
            if known.setdefault(number, text.lower()) != text.lower():
                raise UserError(f"{where} calls {number} {text.lower()}, before {known[number]}")
    if not names[2]:
        raise UserError(f"{path} has no rows; {_FIX}")
    verbs, nouns, actions = (class_table(known) for known in names)
    return verbs, nouns, actions


def class_table(names: Mapping[int, str]) -> ClassTable:
    """Classes by their names; `inspect/read` has both as words."""
    count = max(names) + 1
    words: dict[str, int] = {}
    for number, name in names.items():
        for word in (name, *name.split("/")):
            words.setdefault(word.replace(" ", "-"), number)
    return ClassTable(words, count, tuple(names.get(number, "") for number in range(count)))


def _rows(path: InputPath, cells: int) -> Iterator[tuple[str, list[str]]]:
    """(file and line, cells) of a list without a header."""
    path = local_path(path, "DATA.PATH_TO_DATA_DIR")
    check_csv(path, "a list of EGTEA Gaze+", _FIX)
    with reading(path, "a list of EGTEA Gaze+", _FIX):
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    for line, row in enumerate(rows, 1):
        if row and len(row) != cells:
            raise UserError(f"{path}: line {line} has {len(row)} cells instead of {cells}; {_FIX}")
        if row:
            yield f"{path}: line {line}", [cell.strip() for cell in row]


def _number(cell: str, below: int, where: str) -> int:
    if not cell.isdecimal() or len(cell) > len(str(below)) or int(cell) >= below:
        raise UserError(f"{where} is {cell[:20]!r}; give a whole number below {below}")
    return int(cell)
