"""Atomic writes of files, and short names for them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from slowfast.utils.errors import UserError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file next to `path`, then rename it to `path`.

    A reader sees the complete file or none. The file and its name survive a power failure.
    Raises: OSError if the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, fix: str = "free some space, or write to another folder") -> Iterator[None]:
    """Turn an error of the disk while `path` is written into one line. Raises: UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}; {fix}") from error


def require_free_name(path: Path) -> None:
    """Check early that a result can be written to its path. Raises: UserError for a folder."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, but a result has that name; remove or rename it")


def sync_folder(folder: Path) -> None:
    """Sync `folder` to disk, so that the names of its files survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path | str, content: Mapping[str, Any]) -> Path:
    """Write `content` as indented JSON; NaN and infinities become null.

    Raises: UserError if the file cannot be written.
    """
    path = Path(path)
    text = json.dumps(_without_nan(content), indent=1, allow_nan=False) + "\n"
    with writing(path):
        write_text(path, text)
    return path


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of each path, without the suffix of a file: as many as tell all paths apart.

    Raises: UserError for a path that is given twice.
    """
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise UserError(f"{twice} is given twice; name each run once")
    parts = [path.with_suffix("").parts if path.is_file() else path.parts for path in paths]
    count = 1
    while len({own[-count:] for own in parts}) < len(set(parts)):
        count += 1
    return ["/".join(own[-count:]) for own in parts]
