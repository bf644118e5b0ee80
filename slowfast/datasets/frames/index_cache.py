"""Indices of large files (videos, tars), kept in `$SUML_CACHE` for later runs and other processes.

An index belongs to a file as long as its size and modification time stay the same. A cache that
cannot be read or written only costs time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically
from slowfast.utils.paths import cache_folder
from slowfast.utils.reading import reading

# A file that changed more recently is not cached: it may still be being written, and clocks of
# file systems are coarse, so a second change could leave its time as it is.
_SETTLED_SEC = 2.0


def load_index(kind: str, path: Path) -> dict[str, np.ndarray] | None:
    """The arrays stored for a file; None if there are none for the file as it is now.

    kind: of index, with a version that changes with its content, for example "tar1".
    """
    stored = _stored(kind, path)
    try:
        if not stored.is_file():
            return None
        with reading(stored, "an index"), np.load(stored, allow_pickle=False) as content:
            if content["stamp"].tolist() != _stamp(path):
                return None
            return {name: content[name] for name in content.files}
    except (OSError, UserError):
        return None


def store_index(kind: str, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep the arrays for a file, under names other than "stamp"."""
    try:
        if time.time() - path.stat().st_mtime < _SETTLED_SEC:
            return
        content: dict[str, Any] = {**arrays, "stamp": np.array(_stamp(path), np.int64)}
        write_atomically(_stored(kind, path), lambda file: np.savez(file, **content))
    except OSError:
        return


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _stored(kind: str, path: Path) -> Path:
    digest = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()
    return cache_folder() / kind / digest[:2] / f"{digest[2:24]}.npz"
