"""Records of segments in files below one folder, written while a test runs.

An interrupted test resumes from them, and features are kept in them. A file `part-*.npz` holds
records of some segments and is there whole or not at all; every process writes its own. Its
`header` says what the records depend on. Legend: n segments of a file.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.engine.testing.fingerprint import Key, difference
from slowfast.utils.errors import UserError
from slowfast.utils.files import UNREADABLE_ARRAYS, write_atomically

VERSION = 1
# Arrays by name; except those in `ragged`, of one shape in every record.
Record = Mapping[str, NDArray]

_NAME = re.compile(r"part-(\d+)-\d+-\d+\.npz")
_ROWS = ".rows"
# Bytes of records that are held before they are written, whatever the period.
_MOST_BYTES = 1 << 28


@dataclass
class Found:
    """Files of a folder that belong to a key.

    segments: positions of the segments that they hold, by file.
    next_run: a number that no file of the folder has.
    others: the files that do not. stale: what is wrong with the first of them; empty: there is
        none.
    """

    segments: dict[Path, list[int]] = field(default_factory=dict)
    next_run: int = 0
    others: list[Path] = field(default_factory=list)
    stale: str = ""

    @property
    def paths(self) -> list[Path]:
        return sorted(self.segments)

    @property
    def done(self) -> set[int]:
        return {index for indices in self.segments.values() for index in indices}


class ShardWriter:
    """Collects the records of this process and writes them, at the latest in `flush`.

    run, rank: of this process, for the names of its files. period_sec: between two files.
    ragged: names of the arrays whose first axis differs from segment to segment.
    """

    def __init__(
        self,
        folder: Path,
        key: Key,
        *,
        run: int,
        rank: int,
        period_sec: float,
        ragged: Sequence[str] = (),
    ) -> None:
        self._written = 0
        self._folder = folder
        self._key = key
        self._stem = f"part-{run:03d}-{rank:03d}"
        self._period_sec = period_sec
        self._ragged = ragged
        self._records: list[tuple[int, Record]] = []
        self._bytes = 0
        self._last_sec = time.monotonic()

    def add(self, index: int, record: Record) -> None:
        """Take in the record of segment `index`."""
        self._records.append((index, record))
        self._bytes += sum(array.nbytes for array in record.values())
        late = time.monotonic() - self._last_sec >= self._period_sec
        if late or self._bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held. Raises: UserError where the folder cannot be written."""
        if self._records:
            path = self._folder / f"{self._stem}-{self._written:05d}.npz"
            arrays: dict[str, Any] = _packed(self._records, self._ragged)
            arrays["header"] = np.array(json.dumps({"version": VERSION, "key": self._key}))
            try:
                write_atomically(path, lambda file: np.savez(file, **arrays))
            except OSError as error:
                raise UserError(
                    f"{path} cannot be written: {error.strerror}; make room, or set OUTPUT_DIR"
                ) from error
            self._written += 1
        self._records, self._bytes = [], 0
        self._last_sec = time.monotonic()


def find(folder: Path, key: Key) -> Found:
    """The files of `folder` whose records belong to `key`, and the others."""
    found = Found()
    for path in sorted(folder.glob("part-*.npz")):
        if named := _NAME.fullmatch(path.name):
            found.next_run = max(found.next_run, int(named[1]) + 1)
        try:
            # Opening a pipe would block.
            if not path.is_file():
                raise OSError("it is not a regular file")
            header = read_header(path)
            reason = header_difference(header, key)
            if not reason:
                found.segments[path] = _array(path, "index").tolist()
        except UNREADABLE_ARRAYS as error:
            reason = f"{path.name} cannot be read: {_words(error)}"
        if reason:
            found.others.append(path)
            found.stale = found.stale or reason
    return found


def header_difference(header: Mapping[str, Any], key: Key) -> str:
    """Why the file of a header does not belong to a key; empty: it does."""
    if header["version"] != VERSION:
        return f"version {header['version']} instead of {VERSION}"
    return difference(header["key"], key)


def tidy(folder: Path, found: Found) -> None:
    """Remove what does not belong to the key of `found`, and what killed writers left behind."""
    _unlink([*found.others, *folder.glob(".part-*.npz.*")])


def remove(folder: Path) -> None:
    """Remove all files of `folder` that this module wrote, and the folder where it is then empty.

    Includes what killed writers left behind.
    """
    _unlink([*folder.glob("part-*.npz"), *folder.glob(".part-*.npz.*")])
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        # A folder of such a name is somebody else's.
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_array(path, "header").item())
    return content


def read_records(paths: Sequence[Path], names: Sequence[str] = ()) -> Iterator[tuple[int, Record]]:
    """(position of the segment, its arrays); with `names`, those arrays alone.

    Raises: UserError for a file that cannot be read any more.
    """
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as content:
                wanted = names or [
                    name
                    for name in content.files
                    if name not in ("header", "index") and not name.endswith(_ROWS)
                ]
                columns = {name: _column(content, name) for name in wanted}
                indices = content["index"].tolist()
        except UNREADABLE_ARRAYS as error:
            raise UserError(
                f"{path} cannot be read ({_words(error)}); delete it and run again"
            ) from None
        for row, index in enumerate(indices):
            yield index, {name: column[row] for name, column in columns.items()}


def _packed(records: Sequence[tuple[int, Record]], ragged: Sequence[str]) -> dict[str, NDArray]:
    arrays: dict[str, NDArray] = {"index": np.array([i for i, _ in records], np.int64)}
    for name in records[0][1]:
        parts = [record[name] for _, record in records]
        if name in ragged:
            arrays[name] = np.concatenate(parts)
            arrays[name + _ROWS] = np.array([len(part) for part in parts], np.int64)
        else:
            arrays[name] = np.stack(parts)
    return arrays


def _column(content: Mapping[str, NDArray], name: str) -> Sequence[NDArray]:
    values = content[name]
    if name + _ROWS not in content:
        return list(values)
    return np.split(values, np.cumsum(content[name + _ROWS])[:-1])


def _array(path: Path, name: str) -> NDArray:
    with np.load(path, allow_pickle=False) as content:
        array: NDArray = content[name]
    return array


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
