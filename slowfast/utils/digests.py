"""SHA-256 digests of text, values, arrays and files, as hexadecimal text."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def value_digest(value: Any) -> str:
    """Digest of nested lists, texts and numbers, in their order."""
    return text_digest(json.dumps(value))


def array_digest(*arrays: np.ndarray) -> str:
    """Digest of types, shapes and values, whatever the memory layout."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype.str} {array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def file_digest(path: Path) -> str:
    """Digest of the bytes of a file; `missing` if there is none.

    A file is read again only if its size or modification time has changed.
    """
    if not path.is_file():
        return "missing"
    stat = path.stat()
    return _content_digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _content_digest(path: Path, changed_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
