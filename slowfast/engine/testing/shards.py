"""Records of segments in files below one folder, written while a test runs.

An interrupted test resumes from them, and features are kept in them. A file `part-*.npz` holds
records of some segments and is written atomically; every process writes its own. Its `header` holds
everything that the records depend on. Legend: n segments of a file.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowfast.engine.testing.fingerprint import Key, difference
from slowfast.utils.arrays import ArrayFile, read_arrays, write_arrays
from slowfast.utils.errors import UserError

VERSION = 2
_WHAT = "a file of finished segments"
_FIX = "delete it and run again"
# Arrays by name; except those in `ragged`, of one shape in every record.
Record = Mapping[str, NDArray]

_NAME = re.compile(r"part-(\d+)-\d+-\d+\.npz")
_ROWS = ".rows"
# Bytes of collected records that trigger a write, whatever the period.
_MOST_BYTES = 1 << 28


@dataclass
class Found:
    """Files of a folder that belong to a key.

    segments: positions of the segments that they hold, by file.
    next_run: a number that no file of the folder has.
    others: the files of other keys, and unreadable ones.
    stale: how the first file of another key differs; empty without one.
    damage: the error of the first unreadable file; empty without one.
    """

    segments: dict[Path, list[int]] = field(default_factory=dict)
    next_run: int = 0
    others: list[Path] = field(default_factory=list)
    stale: str = ""
    damage: str = ""

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
        """Add the record of segment `index`."""
        self._records.append((index, record))
        self._bytes += sum(array.nbytes for array in record.values())
        late = time.monotonic() - self._last_sec >= self._period_sec
        if late or self._bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the collected records. Raises: UserError if the folder cannot be written."""
        if self._records:
            path = self._folder / f"{self._stem}-{self._written:05d}.npz"
            arrays = _packed(self._records, self._ragged)
            try:
                write_arrays(path, {"version": VERSION, "key": self._key}, arrays)
            except OSError as error:
                raise UserError(
                    f"{path} cannot be written: {error.strerror}; free some space, or set "
                    "OUTPUT_DIR"
                ) from error
            self._written += 1
        self._records, self._bytes = [], 0
        self._last_sec = time.monotonic()


def find(folder: Path, key: Key) -> Found:
    """The files of `folder` whose records belong to `key`, and the others.

    Every file is read once in full, so that damage is found before its records are used.
    """
    found = Found()
    for path in sorted(folder.glob("part-*.npz")):
        if named := _NAME.fullmatch(path.name):
            found.next_run = max(found.next_run, int(named[1]) + 1)
        try:
            header, indices = _checked(path, *_identity(path))
            reason = header_difference(header, key)
            found.stale = found.stale or reason
        except (UserError, OSError) as error:
            reason = str(error)
            found.damage = found.damage or reason
        if reason:
            found.others.append(path)
        else:
            found.segments[path] = list(indices)
    return found


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


# Cached, because a test searches a folder several times.
@functools.lru_cache(maxsize=4096)
def _checked(path: Path, _time: int, _size: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    """(header, segments) of a file after all its arrays were read. Raises: UserError."""
    return read_arrays(path, _WHAT, _FIX, _verified)


def _verified(file: ArrayFile) -> tuple[dict[str, Any], tuple[int, ...]]:
    if file.header.get("version") not in (1, VERSION) or "key" not in file.header:
        raise ValueError(f"of version {file.header.get('version')!r} instead of {VERSION}")
    indices = file["index"]
    if indices.ndim != 1 or indices.dtype.kind != "i" or len(set(indices.tolist())) < len(indices):
        raise ValueError("its index does not name each segment once")
    for name in _record_names(file):
        column = _column(file, name)
        if len(column) != len(indices):
            raise ValueError(f"{len(column)} rows of {name} for {len(indices)} segments")
        # Without a digest, damage to a number shows only where it is not finite.
        if not file.is_sealed and not all(_is_finite(row) for row in column):
            raise ValueError(f"{name} is not finite")
    return file.header, tuple(indices.tolist())


def _is_finite(row: NDArray) -> bool:
    return row.dtype.kind not in "fc" or bool(np.isfinite(row).all())


def header_difference(header: Mapping[str, Any], key: Key) -> str:
    """Reason why a header does not belong to a key; empty if it does."""
    return difference(header["key"], key)


def tidy(folder: Path, found: Found) -> None:
    """Remove the files of keys other than that of `found`, and leftovers of killed writers."""
    _unlink([*found.others, *folder.glob(".part-*.npz.*")])


def remove(folder: Path) -> None:
    """Remove all files of `folder` that this module wrote, and the folder if it is empty then.

    Includes leftovers of killed writers.
    """
    _unlink([*folder.glob("part-*.npz"), *folder.glob(".part-*.npz.*")])
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        # A folder with such a name was not created here.
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file. Raises: UserError for a file that is damaged."""
    return read_arrays(path, _WHAT, _FIX, lambda file: file.header)


def read_records(paths: Sequence[Path], names: Sequence[str] = ()) -> Iterator[tuple[int, Record]]:
    """(position of the segment, its arrays); with `names`, those arrays alone.

    Raises: UserError for a file that can no longer be read.
    """

    def taken(file: ArrayFile) -> tuple[list[int], dict[str, Sequence[NDArray]]]:
        wanted = names or _record_names(file)
        return file["index"].tolist(), {name: _column(file, name) for name in wanted}

    for path in paths:
        indices, columns = read_arrays(path, _WHAT, _FIX, taken)
        for row, index in enumerate(indices):
            yield index, {name: column[row] for name, column in columns.items()}


def _record_names(file: ArrayFile) -> list[str]:
    return [name for name in file.names if name != "index" and not name.endswith(_ROWS)]


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


def _column(file: ArrayFile, name: str) -> Sequence[NDArray]:
    values = file[name]
    if name + _ROWS not in file.names:
        return list(values)
    rows = file[name + _ROWS]
    if (rows < 0).any() or rows.sum() != len(values):
        raise ValueError(f"{name + _ROWS} counts other rows than {name} has")
    return np.split(values, np.cumsum(rows)[:-1])
