"""Class names of the label columns of CSV lists: from the lists, or from a file `head,id,name`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slowfast.datasets.pairing.label_map import ClassTable
from slowfast.datasets.sources.csv_list import Row
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_text, writing
from slowfast.utils.limits import CLASSES
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.text_files import csv_rows

_COLUMNS = ("head", "id", "name")
_FIX = "write the columns head,id,name"


@dataclass(frozen=True)
class ClassNames:
    """The names of the classes of every head, by id. origin: where they come from, for errors."""

    heads: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    origin: str

    @property
    def counts(self) -> list[int]:
        """Number of classes of each head."""
        return [len(names) for names in self.names]

    def tables(self) -> tuple[ClassTable, ...]:
        """The classes as class tables, which map names to ids regardless of case."""
        return tuple(
            ClassTable({name.lower(): k for k, name in enumerate(names)}, len(names), names)
            for names in self.names
        )

    def write(self, path: Path) -> None:
        """Write the file that `read_class_names` reads. Raises: UserError."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        for head, names in zip(self.heads, self.names, strict=True):
            table.writerows((head, number, name) for number, name in enumerate(names))
        with writing(path, "set OUTPUT_DIR"):
            write_text(path, text.getvalue())

    def ids(self, rows: Sequence[Row]) -> list[tuple[tuple[int, ...], ...]]:
        """Per row the class ids of each head. Raises: UserError for a name without a class."""
        by_name = [{name: k for k, name in enumerate(names)} for names in self.names]
        result = []
        for row in rows:
            labels = []
            for head, known, names in zip(self.heads, by_name, row.labels, strict=True):
                for name in names:
                    if name.strip() not in known:
                        raise UserError(f"{row.where} has {head} {self._unknown(name, known)}")
                labels.append(tuple(sorted({known[name.strip()] for name in names})))
            result.append(tuple(labels))
        return result

    def _unknown(self, name: str, known: Iterable[str]) -> str:
        alike = [other for other in known if _key(other) == _key(name)]
        fix = f"write it as {alike[0]!r}" if alike else "correct the cell, or add the class there"
        return f"{name!r}, which is not a class of {self.origin}; {fix}"


def names_in(rows: Iterable[Row], heads: Sequence[str], origin: str) -> ClassNames:
    """The distinct names of every head in the rows, sorted; numbers are sorted by value.

    Raises: UserError for names that differ only in case or spaces.
    """
    spellings: list[dict[str, tuple[str, str]]] = [{} for _ in heads]
    for row in rows:
        for head, seen, names in zip(heads, spellings, row.labels, strict=True):
            for name in names:
                first, where = seen.setdefault(_key(name), (name, row.where))
                if first != name:
                    raise UserError(
                        f"{row.where} has {head} {name!r}, which differs from {first!r} of {where}"
                        " only in case or spaces; spell both the same way"
                    )
    distinct = ([name.strip() for name, _ in seen.values()] for seen in spellings)
    return ClassNames(tuple(heads), tuple(tuple(_sorted(names)) for names in distinct), origin)


def read_class_names(path: InputPath, key: str, heads: Sequence[str]) -> ClassNames:
    """The classes of `heads` in a file `head,id,name`; it may have more heads.

    key: config key that names the file. Raises: UserError with the line and the fix.
    """
    found: dict[str, dict[int, str]] = {head: {} for head in heads}
    taken: set[tuple[str, str]] = set()
    fix = f"{_FIX}, or set {key}"
    for line, cells in csv_rows(local_path(path, key), "a table of class names", fix):
        where = f"{path}: line {line}"
        if missing := [name for name in _COLUMNS if name not in cells]:
            raise UserError(f"{path} has no column {missing[0]}; {fix}")
        head, number, name = (cells[column].strip() for column in _COLUMNS)
        if head not in found:
            continue
        if not number.isdecimal() or int(number) >= CLASSES or not name:
            raise UserError(f"{where} has id {number!r} and name {name!r}; give an id and a name")
        known = found[head]
        if int(number) in known or (head, _key(name)) in taken:
            raise UserError(
                f"{where} repeats the id {number} or the name {name!r} of {head}; remove the line"
            )
        known[int(number)] = name
        taken.add((head, _key(name)))
    for head, known in found.items():
        if not known:
            raise UserError(f"{path} has no classes of {head}; add them, or set {key}")
        if max(known) >= len(known):
            gap = min(set(range(len(known))) - set(known))
            raise UserError(f"{path} has no class {gap} of {head}; number its classes from 0")
    names = tuple(tuple(name for _, name in sorted(known.items())) for known in found.values())
    return ClassNames(tuple(heads), names, str(path))


def _key(name: str) -> str:
    """Key of a name: equal for names that differ only in case or spaces."""
    return " ".join(name.casefold().split())


def _sorted(names: Sequence[str]) -> list[str]:
    if all(name.isascii() and name.isdecimal() for name in names):
        return sorted(names, key=int)
    return sorted(names)
