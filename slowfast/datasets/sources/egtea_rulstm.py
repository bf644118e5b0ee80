"""EGTEA Gaze+ (ego): the data set `egtea`.

Action splits as lists without a header: id, video, start frame, stop frame, verb, noun, action,
with frames counted 30 a second; `actions.csv` next to them: action, `VERB_NOUN` ids, name
(`Turn on_faucet`). RU-LSTM (arXiv 1905.09035) publishes the official splits in this form.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence

from slowfast.config.heads import ego_heads
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.pairing.label_map import ClassTable
from slowfast.datasets.registry import DataSource, list_names, register_source
from slowfast.datasets.sources.timed_videos import video_store
from slowfast.datasets.types import Annotations, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import CLASSES, FRAMES, ID_CHARACTERS
from slowfast.utils.paths import InputPath, join, local_path
from slowfast.utils.reading import reading
from slowfast.utils.text_files import check_csv

logger = logging.getLogger(__name__)

HEADS = ("verb", "noun", "action")
_FIX = "take the file as RU-LSTM publishes it for EGTEA Gaze+"
_LIST_CELLS = 7
_TABLE_CELLS = 3


@register_source("egtea", views=("ego",))
class Egtea(DataSource):
    """The segments of the split's list; MODEL.HEAD_NAMES selects among verb, noun and action."""

    frame_rate = 30.0

    def annotations(self) -> Annotations:
        cfg = self.cfg
        path = join(cfg.DATA.PATH_TO_DATA_DIR, list_names(cfg, self.split))
        segments = read_segments(path, self._heads(), self.class_tables(), self._actions().keys)
        logger.info("%s: %d segments from %s", self.split, len(segments), path)
        return Annotations(segments)

    def frames(self, annotations: Annotations) -> VideoStore:
        return video_store(self.cfg, self.view, self.frame_rate, f"egtea {self.split}")

    def class_tables(self) -> tuple[ClassTable, ...]:
        tables = read_actions(join(self.cfg.DATA.PATH_TO_DATA_DIR, "actions.csv"))
        return tuple(tables[HEADS.index(head)] for head in self._heads())

    def _actions(self) -> ClassTable:
        return read_actions(join(self.cfg.DATA.PATH_TO_DATA_DIR, "actions.csv"))[-1]

    def _heads(self) -> list[str]:
        names = [head.name for head in ego_heads(self.cfg)]
        unknown = [name for name in names if name not in HEADS]
        if unknown:
            raise UserError(
                f"MODEL.HEAD_NAMES has {unknown[0]}, but EGTEA Gaze+ is labelled with "
                f"{', '.join(HEADS)}; name some of these"
            )
        return names


def read_segments(
    path: InputPath, heads: Sequence[str], tables: Sequence[ClassTable], actions: Sequence[str]
) -> list[Segment]:
    """The segments of a list, in its order; the narration is the name of the action.

    tables: of the heads. actions: name of every action.

    Raises: UserError naming the file, the line and the fix.
    """
    segments: dict[str, Segment] = {}
    for where, row in _rows(path, _LIST_CELLS):
        name, video = row[0], row[1]
        if not 0 < len(name) <= ID_CHARACTERS or not 0 < len(video) <= ID_CHARACTERS:
            raise UserError(f"{where} has no id or no video; {_FIX}")
        if name in segments:
            raise UserError(f"{where} has the id {name} again; keep one row of it")
        start, stop = (_number(cell, FRAMES, where) for cell in row[2:4])
        if stop < start:
            raise UserError(f"{where} has stop frame {stop} before start frame {start}")
        classes = dict(zip(HEADS, row[4:], strict=True))
        labels = tuple(
            (_number(classes[head], table.num_classes, f"{where}: {head}"),)
            for head, table in zip(heads, tables, strict=True)
        )
        text = actions[_number(classes["action"], len(actions), f"{where}: action")]
        # Videos are named PARTICIPANT-SESSION-RECIPE; numbers of the lists may begin with 0.
        participant = video.split("-")[0]
        first = max(start, 1)
        segments[name] = Segment(name, video, participant, first, max(stop, first), text, labels)
    return list(segments.values())


def read_actions(path: InputPath) -> tuple[ClassTable, ClassTable, ClassTable]:
    """The verbs, the nouns and the actions. Raises: UserError for a malformed file."""
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
    verbs, nouns, actions = (_table(known) for known in names)
    return verbs, nouns, actions


def _table(names: dict[int, str]) -> ClassTable:
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
