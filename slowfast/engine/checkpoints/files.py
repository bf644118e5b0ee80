"""Checkpoint files on disk: their names, atomic writes, and a check of their content.

A checkpoint is the zip archive that `torch.save` writes. The archive's comment, which every reader
skips, holds the SHA-256 of the archive without it: file and digest are one file, so a crash cannot
separate them.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from slowfast.utils.files import sync_folder

BEST = "best"

_FOLDER = "checkpoints"
_NAME = re.compile(r"checkpoint_epoch_(\d+)(?:_iter_(\d+))?\.pyth")
_DIGEST_PREFIX = b"sha256:"
_COMMENT_LENGTH = len(_DIGEST_PREFIX) + 64
# An archive without a comment ends in the comment's length, two bytes of 0.
_NO_COMMENT = struct.pack("<H", 0)
_READ_BYTES = 1 << 20


def checkpoint_path(output_dir: str | Path, epochs: int | str, iteration: int = 0) -> Path:
    """Path of a run's checkpoint file.

    epochs: number of finished epochs (`checkpoint_epoch_00030.pyth`), or a word
        (`checkpoint_best.pyth`).
    iteration: finished steps of the next epoch (`checkpoint_epoch_00030_iter_0001234.pyth`).
    """
    name = f"epoch_{epochs:05d}" if isinstance(epochs, int) else epochs
    if iteration:
        name += f"_iter_{iteration:07d}"
    return Path(output_dir) / _FOLDER / f"checkpoint_{name}.pyth"


def numbered_checkpoints(output_dir: str | Path) -> dict[tuple[int, int], Path]:
    """A run's checkpoints by (finished epochs, finished steps of the next one), oldest first."""
    numbered = {}
    for path in (Path(output_dir) / _FOLDER).glob("checkpoint_epoch_*.pyth"):
        matched = _NAME.fullmatch(path.name)
        if matched:
            numbered[int(matched[1]), int(matched[2] or 0)] = path
    return dict(sorted(numbered.items()))


class _HashingWriter:
    """Writes bytes to a file and hashes them at the same time.

    fault: the error of the disk, which torch.save replaces with another one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.fault = self.fault or error
            raise

    def flush(self) -> None:
        self._file.flush()


def is_numbered_checkpoint(path: Path) -> bool:
    """Whether the name is one of `numbered_checkpoints`."""
    return _NAME.fullmatch(path.name) is not None


def write_checkpoint(
    path: Path, content: Mapping[str, Any], check: Callable[[], None] = lambda: None
) -> None:
    """Save `content` under a temporary name, flush it to the disk, then rename it to `path`.

    An earlier file of this name stays intact until the new one replaces it. Temporary files of
    interrupted saves are removed.

    check: called before the rename; if it raises, the earlier file stays.

    Raises: OSError for a full disk and other errors of the file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(".checkpoint_*.tmp"):
        leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            _write_with_digest(file, content)
            file.flush()
            os.fsync(file.fileno())
        check()
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _write_with_digest(file: BinaryIO, content: Mapping[str, Any]) -> None:
    writer = _HashingWriter(file)
    try:
        torch.save(dict(content), writer)  # type: ignore[arg-type]
    except RuntimeError:
        if writer.fault is not None:
            raise writer.fault from None
        raise
    comment = _DIGEST_PREFIX + writer.hash.hexdigest().encode("ascii")
    file.seek(-len(_NO_COMMENT), os.SEEK_END)
    file.write(struct.pack("<H", len(comment)) + comment)


def damage(path: Path) -> str:
    """Describe the damage to the bytes of a checkpoint; empty if there is none.

    A file that another program wrote has no digest; the checksums in the archive are used then.
    """
    try:
        size = path.stat().st_size
        if size == 0:
            return "it is empty"
        with path.open("rb") as file:
            stored = _stored_digest(file, size)
            if stored is not None:
                whole = _digest(file, size) == stored
                return "" if whole else "its content does not match its digest"
            return _archive_damage(file)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def is_archive(path: Path) -> bool:
    """Whether it has the format of `torch.save` since 1.6; older files cannot be checked."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _stored_digest(file: BinaryIO, size: int) -> bytes | None:
    """The hexadecimal digest in the archive's comment; None if it has none."""
    length = len(_NO_COMMENT) + _COMMENT_LENGTH
    if size < length:
        return None
    file.seek(-length, os.SEEK_END)
    tail = file.read(length)
    start = struct.pack("<H", _COMMENT_LENGTH) + _DIGEST_PREFIX
    return tail.removeprefix(start) if tail.startswith(start) else None


def _digest(file: BinaryIO, size: int) -> bytes:
    """The digest of the archive as it was before the comment."""
    remaining = size - len(_NO_COMMENT) - _COMMENT_LENGTH
    hashed = hashlib.sha256()
    file.seek(0)
    while remaining > 0:
        data = file.read(min(_READ_BYTES, remaining))
        if not data:
            break
        hashed.update(data)
        remaining -= len(data)
    hashed.update(_NO_COMMENT)
    return hashed.hexdigest().encode("ascii")


def _archive_damage(file: BinaryIO) -> str:
    """`damage` of an archive without a digest that can be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        file.seek(-len(_NO_COMMENT), os.SEEK_END)
        if broken is None and file.read() != _NO_COMMENT:
            return "its digest is damaged or truncated"
    except Exception as error:  # a damaged archive can raise any error
        return f"it is truncated, damaged or not a checkpoint ({error})"
    return "" if broken is None else f"its part {broken} is damaged"
