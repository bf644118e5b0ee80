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
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from slowfast.utils.errors import UserError
from slowfast.utils.reading import require_file

CACHE_VERSION = 1
# Vectors on disk: D little-endian float32 of norm 1.
VECTOR_TYPE = np.dtype("<f4")
# Parameters of one query, below SQLite's smallest limit.
_QUERY_TEXTS = 500


def cache_path(folder: str | Path, encoder: str) -> Path:
    """The file of an encoder's embeddings: a readable name, made unique by a hash."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", encoder.strip("./"))[-60:]
    digest = hashlib.sha256(encoder.encode()).hexdigest()[:8]
    return Path(folder) / f"{readable}-{digest}.sqlite"


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Context that turns SQLite's errors about a bad file into a UserError."""
    try:
        yield
    except sqlite3.Error as error:
        raise UserError(
            f"narration cache {path} cannot be used ({error}); set SUML.CACHE_DIR to a folder "
            "that you can write, or delete the cache and run tools/mine_pairs.py again"
        ) from error


def stored_vectors(path: Path, texts: Sequence[str], width: int) -> dict[str, np.ndarray]:
    """The vectors (D,) of the texts that an existing cache holds; nothing is written.

    The cache may be on a read-only file system, or belong to another user.

    Raises: UserError if it is no readable cache, or its vectors are not `width` wide.
    """
    require_file(path, "a narration cache", "set SUML.CACHE_DIR to another folder")
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    with (
        database_errors(path),
        closing(sqlite3.connect(address, uri=True, timeout=60)) as connection,
    ):
        return read_vectors(connection, texts, width, path) if has_table(connection, path) else {}


def has_table(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the cache has its table, which a new file lacks.

    Raises: UserError if the cache is of another version.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, CACHE_VERSION):
        raise UserError(
            f"narration cache {path} is of version {version}, this program writes "
            f"{CACHE_VERSION}; delete it and run tools/mine_pairs.py again"
        )
    return bool(version == CACHE_VERSION)


def read_vectors(
    connection: sqlite3.Connection, texts: Sequence[str], width: int, path: Path
) -> dict[str, np.ndarray]:
    """The vectors (D,) of the texts that the cache `path` holds.

    Raises: UserError if they are not `width` wide.
    """
    found: dict[str, np.ndarray] = {}
    for start in range(0, len(texts), _QUERY_TEXTS):
        part = list(texts[start : start + _QUERY_TEXTS])
        marks = ",".join("?" * len(part))
        query = f"SELECT text, vector FROM embeddings WHERE text IN ({marks})"
        for text, blob in connection.execute(query, part):
            found[text] = np.frombuffer(blob, VECTOR_TYPE)
            if len(found[text]) != width:
                raise UserError(
                    f"narration cache {path} holds vectors of width {len(found[text])}, "
                    f"SUML.EMBED_DIM is {width}; set it to the encoder's width"
                )
    return found


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
