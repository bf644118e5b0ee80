"""Mapping of an exo vocabulary to ego classes, by the class tables of the ego data set.

A class table lists the words of every class, as EPIC-KITCHENS publishes it (`instances`; in
EPIC-KITCHENS-55 `verbs`, `nouns`). An override file adds to it or corrects it. A word that belongs
to no class is mapped to None.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from slowfast.utils.errors import UserError
from slowfast.utils.limits import CLASSES
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.text_files import csv_rows

# The heads whose labels are compared between the views; both have them as their first heads.
TIER_HEADS = ("verb", "noun")
# Ego classes of one head, per exo segment; None if a label has no ego class.
ExoClasses = Sequence[Sequence[int | None]]

_FIX = "link EPIC's class tables into DATA.PATH_TO_DATA_DIR"
_OVERRIDE_COLUMNS = ("kind", "exo", "ego_class")


class ClassNamesMissing(UserError):
    """The data set has no class names, so its labels cannot be compared with other data sets."""


@dataclass(frozen=True)
class ClassTable:
    """ids: word -> class id, class keys among the words. num_classes: classes of the table.

    keys: the key of every class, by id; empty for an id that the table leaves out.
    """

    ids: Mapping[str, int]
    num_classes: int
    keys: tuple[str, ...] = ()


# Ego class by exo class id, or None.
ClassMap = tuple[int | None, ...]


def build_label_map(
    class_names: Sequence[Sequence[str]],
    tables: Sequence[ClassTable | InputPath],
    override: InputPath | None = None,
    heads: Sequence[str] = TIER_HEADS,
    exo_tables: Sequence[ClassTable] = (),
) -> tuple[ClassMap, ...]:
    """Per head the ego class of every exo class.

    A class without an ego class by its name gets the one that most of its words belong to.

    class_names: the words of the exo classes. tables: the ego class tables, or their files.
    override: CSV file `kind,exo,ego_class`: kind is the name of a head, exo a word of the exo
        vocabulary, ego_class a class id, a word of the class table, or empty for none.
    exo_tables: the exo class tables, whose words are used too; empty: the names alone.

    Raises: UserError for a missing or malformed file, or an override of an unknown word or class.
    """
    ego = [table if isinstance(table, ClassTable) else read_class_table(table) for table in tables]
    maps = [
        [ego_class(word, table.ids) for word in words]
        for words, table in zip(class_names, ego, strict=True)
    ]
    for classes, exo, table in zip(maps, exo_tables, ego, strict=False):
        voted = _classes_by_words(exo, table.ids)
        classes[:] = [voted.get(k) if known is None else known for k, known in enumerate(classes)]
    for line, kind, word, text in _overrides(override, heads) if override else ():
        head = heads.index(kind)
        if word not in class_names[head]:
            raise UserError(
                f"{override}: line {line}: the exo set has no {kind} {word!r}; "
                "use a word of its vocabulary"
            )
        mapped = _override_class(text, ego[head], f"{override}: line {line}")
        maps[head][class_names[head].index(word)] = mapped
    return tuple(tuple(classes) for classes in maps)


def ego_class(word: str, ids: Mapping[str, int]) -> int | None:
    """The class of a word, as written or in EPIC's spelling; None if it has none.

    EPIC writes compounds with the head first (`cutting-board` is `board:cutting`) and nouns in
    the singular. Of `cut_(trim,_slice)` the first synonym that has a class counts.
    """
    for synonym in synonyms(word):
        found = _class_of(synonym, ids)
        if found is not None:
            return found
    return None


def synonyms(label: str) -> list[str]:
    """The words of a label: `cut_(trim,_slice)` means cut, trim, slice; other labels are one."""
    first, bracket, others = label.strip().removesuffix(")").partition("_(")
    if not bracket:
        return [label]
    return [first, *(word.strip("_ ") for word in others.split(",") if word.strip("_ "))]


def readable(key: str) -> str:
    """A class key in words: `put-down` is put down, `board:chopping` is chopping board."""
    return " ".join(reversed(key.split(":"))).replace("-", " ").replace("_", " ")


def _classes_by_words(exo: ClassTable, ids: Mapping[str, int]) -> dict[int, int]:
    """Exo class -> the ego class that most of its words belong to; of equals, the first found."""
    votes: dict[int, Counter[int]] = {}
    for word, label in exo.ids.items():
        found = _class_of(word, ids)
        if found is not None:
            votes.setdefault(label, Counter())[found] += 1
    return {label: counts.most_common(1)[0][0] for label, counts in votes.items()}


def _class_of(word: str, ids: Mapping[str, int]) -> int | None:
    plain = word.strip().lower().replace(" ", "-").replace("_", "-")
    modifier, _, head = plain.rpartition("-")
    spellings = [plain, f"{head}:{modifier}"] if modifier else [plain]
    for spelling in (*spellings, *(text.removesuffix("s") for text in spellings)):
        if spelling in ids:
            return ids[spelling]
    return None


def read_class_table(path: InputPath) -> ClassTable:
    """A table of EPIC-KITCHENS-100 or -55. Raises: UserError for a missing or malformed file."""
    keys: dict[str, int] = {}
    words: dict[str, int] = {}
    count = 0
    path = local_path(path, "DATA.PATH_TO_DATA_DIR")
    for line, row in csv_rows(path, "a class table", _FIX):
        try:
            number = int(_cell(row, ("id", "verb_id", "noun_id")))
            if not 0 <= number < CLASSES:
                raise ValueError(f"id {number} is not below {CLASSES}")
            keys[_cell(row, ("key", "class_key")).lower()] = number
            for word in ast.literal_eval(_cell(row, ("instances", "verbs", "nouns"))):
                words.setdefault(str(word).lower(), number)
        except Exception as error:  # a literal can be anything, and nested at any depth
            raise UserError(
                f"{path}: line {line} is not a row of a class table (id, key, instances): "
                f"{str(error)[:100]}; take the file as EPIC-KITCHENS publishes it"
            ) from error
        count = max(count, number + 1)
    if not keys:
        raise UserError(f"{path} has no rows; take the file as EPIC-KITCHENS publishes it")
    # A few words belong to two classes: the class with that name wins, else the first.
    by_id = {number: key for key, number in keys.items()}
    return ClassTable(
        {**words, **keys}, count, tuple(by_id.get(number, "") for number in range(count))
    )


def _overrides(path: InputPath, heads: Sequence[str]) -> Iterator[tuple[int, str, str, str]]:
    """(line, head, exo word, ego class) of the override's rows."""
    path = local_path(path, "SUML.PAIRS.LABEL_MAP")
    for line, row in csv_rows(path, "a label map", "check SUML.PAIRS.LABEL_MAP"):
        if any(column not in row for column in _OVERRIDE_COLUMNS):
            raise UserError(
                f"{path}: line {line} lacks a cell; the columns are {','.join(_OVERRIDE_COLUMNS)}"
            )
        if row["kind"] not in heads:
            raise UserError(
                f"{path}: line {line} has kind {row['kind']!r}; use {' or '.join(heads)}"
            )
        yield line, row["kind"], row["exo"].strip(), row["ego_class"].strip()


def _override_class(text: str, table: ClassTable, where: str) -> int | None:
    if not text:
        return None
    number = int(text) if text.isdecimal() else table.ids.get(text.lower())
    if number is None or number >= table.num_classes:
        raise UserError(
            f"{where}: {text!r} is not an ego class; use an id below {table.num_classes}, a word "
            "of the class table, or an empty cell"
        )
    return number


def _cell(row: Mapping[str, str], names: Sequence[str]) -> str:
    """The cell of the column that has one of the names. Raises: KeyError if there is none."""
    present = [name for name in names if name in row]
    if not present:
        raise KeyError(names[0])
    return row[present[0]]
