"""Clips and sentences of a frame list for retrieval, with their classes.

EPIC-KITCHENS lists all nouns of a segment in `all_noun_classes` (a list, or a list written as
text). `noun_class` is the first of them.
"""

from __future__ import annotations

import ast
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slowfast.datasets.sources.epic_annotations import ID_COLUMN_55, ID_COLUMN_100
from slowfast.datasets.sources.frame_lists import read_table
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath

SENTENCES_FILE = "EPIC_100_retrieval_test_sentence.csv"


@dataclass(frozen=True)
class Described:
    """Clips or sentences, with the text, the verb class and all noun classes of each."""

    texts: list[str]
    verbs: list[int]
    nouns: list[list[int]]

    def __len__(self) -> int:
        return len(self.texts)


def describe_clips(
    paths: Sequence[InputPath], segments: Sequence[Segment], num_nouns: int
) -> Described:
    """Describe the clips of the lists at `paths`; `segments` are their rows, in the same order.

    A clip of a list without all_noun_classes has one noun.
    Raises: UserError if a segment has no label, or a noun id is out of range.
    """
    unlabelled = [s.segment_id for s in segments if not all(s.labels)]
    if unlabelled:
        lists = ", ".join(map(str, paths))
        raise UserError(
            f"{lists}: {len(unlabelled)} segments such as {unlabelled[0]} have no labels; use a "
            "labelled list (TEST.DATA_LIST)"
        )
    nouns = [list(s.labels[1]) for s in segments]
    place = {s.segment_id: row for row, s in enumerate(segments)}
    for path in paths:
        table = read_table(path)
        if "all_noun_classes" not in table.columns:
            continue
        for name, cell in zip(_ids(table), table["all_noun_classes"], strict=True):
            # Segments without a video may have been left out.
            if name in place:
                where = f"{path}: all_noun_classes of {name}"
                nouns[place[name]] = _classes(cell, num_nouns, where)
    return Described([s.narration for s in segments], [s.labels[0][0] for s in segments], nouns)


def describe_sentences(
    path: InputPath | None, segments: Sequence[Segment], clips: Described
) -> Described:
    """Describe the sentences to retrieve: the rows of a CSV `narration_id,narration`.

    A sentence has the classes of the clip with its narration_id. path None: every distinct
    narration of the clips, with the classes of its first clip.
    Raises: UserError if a sentence has the id of no clip.
    """
    if path is None:
        first = {text: row for row, text in reversed(list(enumerate(clips.texts)))}
        rows = sorted(first.values())
        texts = [clips.texts[row] for row in rows]
    else:
        table = read_table(path)
        missing = {"narration_id", "narration"} - set(table.columns)
        if missing:
            raise UserError(f"{path} has no column {min(missing)}; use {SENTENCES_FILE}")
        place = {segment.segment_id: row for row, segment in enumerate(segments)}
        ids = table["narration_id"].astype(str).tolist()
        unknown = [name for name in ids if name not in place]
        if unknown:
            raise UserError(
                f"{path}: {len(unknown)} of {len(ids)} sentences, such as {unknown[0]}, have "
                "a narration_id that is not in TEST.DATA_LIST; set TEST.RETRIEVAL.SENTENCES to the "
                "sentences of that list"
            )
        rows = [place[name] for name in ids]
        texts = table["narration"].astype(str).tolist()
    return Described(texts, [clips.verbs[row] for row in rows], [clips.nouns[row] for row in rows])


def _ids(table: Any) -> list[str]:
    for column in (ID_COLUMN_100, ID_COLUMN_55):
        if column in table.columns:
            return [str(name) for name in table[column]]
    return [str(name) for name in table.index]


def _classes(cell: Any, count: int, where: str) -> list[int]:
    try:
        classes = [int(c) for c in (ast.literal_eval(cell) if isinstance(cell, str) else cell)]
    except Exception:  # a literal can be anything, and nested at any depth
        raise UserError(f"{where} is {reprlib.repr(cell)}, not a list of class ids") from None
    if not classes or not all(0 <= c < count for c in classes):
        raise UserError(
            f"{where} is {reprlib.repr(cell)}; give ids below {count} (MODEL.NUM_CLASSES_LIST)"
        )
    return classes
