"""Narration embeddings for training: read from the cache on disk, never from the encoder.

The cache is one SQLite file per encoder below SUML.CACHE_DIR; `semantics.encoder` writes it.

Legend: D embedding width, n texts, U distinct texts.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from slowfast.utils.errors import UserError
from slowfast.utils.limits import EMBEDDING_WIDTH
from slowfast.utils.reading import reading, require_file

CACHE_VERSION = 2
# The version whose rows have no digest. Such a file is read and extended as it is.
_WITHOUT_DIGEST = 1
# Vectors on disk: D little-endian float32 of norm 1.
VECTOR_TYPE = np.dtype("<f4")
# Parameters of one query, below SQLite's smallest limit.
_QUERY_TEXTS = 500
_FIX = (
    "set SUML.CACHE_DIR to a folder that you can write, or delete the cache and run "
    "tools/mine_pairs.py again"
)
_TABLE = "embeddings"
# Bytes of a digest.
_DIGEST = 8
_ROW_BYTES = 4 * EMBEDDING_WIDTH + (1 << 20)
# float32 rounding moves a norm by less than 1e-6.
_NORM_TOLERANCE = 1e-3


def cache_path(folder: str | Path, encoder: str) -> Path:
    """The file of an encoder's embeddings: a readable name, made unique by a hash."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", encoder.strip("./"))[-60:]
    digest = hashlib.sha256(encoder.encode()).hexdigest()[:8]
    return Path(folder) / f"{readable}-{digest}.sqlite"


def stored_vector(text: str, vector: np.ndarray, version: int) -> bytes:
    """A vector as it is stored: its bytes, then the digest of text and vector."""
    raw = vector.astype(VECTOR_TYPE).tobytes()
    return raw if version == _WITHOUT_DIGEST else raw + _digest(text, raw)


def cache_version(connection: sqlite3.Connection) -> int:
    """The version of a cache; 0 if it is new."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _digest(text: str, raw: bytes) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") + b"\0" + raw).digest()[:_DIGEST]


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Context manager that turns the errors of a damaged file into a UserError."""
    try:
        yield
    except sqlite3.Error as error:
        raise UserError(f"narration cache {path} cannot be used ({error}); {_FIX}") from error


def check_table(connection: sqlite3.Connection, path: Path) -> None:
    """Limit what a query may cost, before the first one.

    Raises: UserError if the embeddings are not a plain table, since a view can run indefinitely.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _ROW_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    found = connection.execute("SELECT name, type, sql FROM sqlite_master").fetchall()
    for name, kind, sql in found:
        is_table = kind == "table" and str(sql).upper().startswith("CREATE TABLE")
        if kind != "index" and (name != _TABLE or not is_table or " AS " in str(sql).upper()):
            raise UserError(
                f"narration cache {path} has the {kind} {name}; delete it and run "
                "tools/mine_pairs.py again"
            )


def stored_vectors(path: Path, texts: Sequence[str], width: int) -> dict[str, np.ndarray]:
    """The vectors (D,) of the texts that an existing cache holds; nothing is written.

    The cache may be on a read-only file system or belong to another user.

    Raises: UserError if it is not a readable cache, or its vectors are not `width` wide.
    """
    require_file(path, "a narration cache", "set SUML.CACHE_DIR to another folder")
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    with (
        reading(path, "a narration cache", _FIX),
        database_errors(path),
        closing(sqlite3.connect(address, uri=True, timeout=60)) as connection,
    ):
        return read_vectors(connection, texts, width, path) if has_table(connection, path) else {}


def has_table(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the cache has its table, which a new file lacks.

    Raises: UserError if the cache is of another version, or its embeddings are not a plain table.
    """
    check_table(connection, path)
    version = cache_version(connection)
    if version not in (0, _WITHOUT_DIGEST, CACHE_VERSION):
        raise UserError(
            f"narration cache {path} has version {version}, but this program writes "
            f"{CACHE_VERSION}; delete it and run tools/mine_pairs.py again"
        )
    return version != 0


def read_vectors(
    connection: sqlite3.Connection, texts: Sequence[str], width: int, path: Path
) -> dict[str, np.ndarray]:
    """The vectors (D,) of the texts that the cache `path` holds.

    Raises: UserError for a row that is damaged, and vectors that are not `width` wide.
    """
    found: dict[str, np.ndarray] = {}
    digest_bytes = 0 if cache_version(connection) == _WITHOUT_DIGEST else _DIGEST
    for start in range(0, len(texts), _QUERY_TEXTS):
        part = list(texts[start : start + _QUERY_TEXTS])
        marks = ",".join("?" * len(part))
        query = f"SELECT text, vector FROM {_TABLE} WHERE text IN ({marks})"
        for text, blob in connection.execute(query, part):
            vector = _opened(text, blob, digest_bytes)
            if vector is None:
                raise UserError(
                    f"narration cache {path}: the vector of {text[:80]!r} is damaged; delete the "
                    "file and run tools/mine_pairs.py again"
                )
            if len(vector) != width:
                raise UserError(
                    f"narration cache {path} holds vectors of width {len(vector)}, but "
                    f"SUML.EMBED_DIM is {width}; set it to the encoder's width"
                )
            found[text] = vector
    return found


def _opened(text: str, blob: Any, digest_bytes: int) -> np.ndarray | None:
    """The vector of a row; None if it is damaged."""
    size = len(blob) - digest_bytes if isinstance(blob, bytes) else 0
    if size <= 0 or size % VECTOR_TYPE.itemsize:
        return None
    raw = blob[:size]
    if digest_bytes and blob[size:] != _digest(text, raw):
        return None
    vector = np.frombuffer(raw, VECTOR_TYPE)
    # NaN fails the comparison too.
    is_unit = abs(float(np.linalg.norm(vector.astype(np.float64))) - 1) < _NORM_TOLERANCE
    return vector if is_unit else None


class NarrationTable:
    """Table of embeddings by text, in memory.

    vectors: (U, D) float32, rows of norm 1.
    """

    def __init__(self, texts: Sequence[str], vectors: Tensor) -> None:
        self.vectors = vectors
        self._rows = {text: row for row, text in enumerate(texts)}

    @classmethod
    def load(
        cls, folder: str | Path, encoder: str, width: int, texts: Sequence[str]
    ) -> NarrationTable:
        """The embeddings of `texts` from the cache in `folder`.

        Raises: UserError for a missing or unreadable cache, one that lacks a text, or whose
            vectors are not `width` wide.
        """
        path = cache_path(folder, encoder)
        if not os.path.lexists(path):
            raise UserError(
                f"no narration embeddings of encoder {encoder} at {path}; "
                "run tools/mine_pairs.py with this config"
            )
        distinct = list(dict.fromkeys(texts))
        found = stored_vectors(path, distinct, width)
        missing = [text for text in distinct if text not in found]
        if missing:
            raise UserError(
                f"narration cache {path} lacks {len(missing)} of {len(distinct)} texts such as "
                f"{missing[0]!r}; run tools/mine_pairs.py with this config"
            )
        rows = np.stack([found[text] for text in distinct]) if distinct else np.empty((0, width))
        return cls(distinct, torch.from_numpy(rows.astype(np.float32)))

    def rows(self, texts: Sequence[str]) -> np.ndarray:
        """Rows (n,) int64 of `vectors` that belong to the texts.

        Raises: UserError for a text that the table lacks.
        """
        try:
            return np.array([self._rows[text] for text in texts], np.int64)
        except KeyError as error:
            raise UserError(
                f"no embedding of the narration {error.args[0]!r}; "
                "run tools/mine_pairs.py with this config"
            ) from None
