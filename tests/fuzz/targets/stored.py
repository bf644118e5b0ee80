"""Files that the program writes: pair tables, finished segments, embeddings, submissions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from slowfast.datasets.pairing.narrations import NarrationTable, cache_path
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.sources.lemma_annotations import read_lemma
from slowfast.engine.testing import shards
from slowfast.evaluation.predictions import Predictions
from slowfast.evaluation.submission import SupervisionLevels, check_submission, write_submission
from slowfast.semantics.encoder import encode_cached
from slowfast.semantics.published_pairs import import_pairs
from slowfast.utils.errors import UserError
from tests.datasets.sources.tiny_lemma import NOUNS, VERBS, write_annotations
from tests.fuzz import target

_WIDTH = 8
# By length, as the encoder gets them.
_TEXTS = ("wash cup", "cut onion", "open door")
_IDS = ("P01_01_0", "P01_01_1")


def pair_tables(folder: Path) -> list[bytes]:
    """One with digests, one of version 1."""
    arrays = {
        "indices": np.array([[0, 1], [2, -1]], np.int32),
        "similarity": np.array([[0.5, 0.25], [1, 0]], np.float32),
        "tier": np.ones((2, 2), np.uint8),
    }
    header = {"settings": {"mining": "text"}, "ego_hash": "a", "exo_hash": "b", "exo_count": 3}
    new, old = folder / "new.npz", folder / "old.npz"
    PairTable(**arrays, **header).save(new)  # type: ignore[arg-type]
    np.savez_compressed(old, header=np.array(json.dumps({"version": 1, **header})), **arrays)
    return [new.read_bytes(), old.read_bytes()]


@target("pair_table", ".npz", pair_tables)
def read_pair_table(path: Path) -> object:
    return PairTable.load(path)


def segment_files(folder: Path) -> list[bytes]:
    """Records of two segments, one array of which is ragged."""
    writer = shards.ShardWriter(
        folder, {"weights": "a"}, run=0, rank=0, period_sec=3600, ragged=("views",)
    )
    for index in range(2):
        writer.add(index, {"pooled": np.ones(3, np.float32), "views": np.ones((index + 1, 2))})
    writer.flush()
    (path,) = folder.glob("part-*.npz")
    return [path.read_bytes()]


@target("finished_segments", ".npz", segment_files)
def read_segment_file(path: Path) -> object:
    """A part that `find` refuses counts as refused; one that it takes must be readable."""
    part = path.with_suffix("") / "part-000-000-00000.npz"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(path.read_bytes())
    found = shards.find(part.parent, {"weights": "a"})
    if found.damage or found.stale:
        raise UserError(f"{path}: {found.damage or found.stale}")
    return list(shards.read_records(found.paths))


def caches(folder: Path) -> list[bytes]:
    rows = np.eye(len(_TEXTS), _WIDTH)
    encode_cached(
        _TEXTS,
        encoder="fuzz",
        folder=folder / "cache",
        width=_WIDTH,
        make_encode=lambda _: lambda texts: rows[: len(texts)],
    )
    return [cache_path(folder / "cache", "fuzz").read_bytes()]


@target("narration_cache", ".sqlite", caches)
def read_cache(path: Path) -> object:
    folder = path.with_name("input")
    folder.mkdir(exist_ok=True)
    cache_path(folder, "fuzz").write_bytes(path.read_bytes())
    vectors = NarrationTable.load(folder, "fuzz", _WIDTH, _TEXTS).vectors
    assert np.array_equal(vectors, np.eye(len(_TEXTS), _WIDTH)), "other vectors than were stored"
    return vectors


def submissions(folder: Path) -> list[bytes]:
    scores = {"verb": np.zeros((2, 97), np.float32), "noun": np.zeros((2, 300), np.float32)}
    path = folder / "submission.zip"
    write_submission(path, Predictions(scores, np.array(_IDS)), SupervisionLevels(2, 3, 3))
    return [path.read_bytes()]


@target("submission", ".zip", submissions)
def read_submission(path: Path) -> object:
    return check_submission(path, _IDS)


def _exo(folder: Path, **files: Path):  # type: ignore[no-untyped-def]
    root = folder / "lemma"
    if not root.exists():
        write_annotations(root)
    for name, path in files.items():
        (root / "annotations" / "full" / name).with_suffix(".p").write_bytes(path.read_bytes())
    return read_lemma(
        root / "annotations",
        "train",
        view="tpv",
        segments_view="tpv",
        video_type="all",
        num_classes=(len(VERBS), len(NOUNS)),
    )


def _lemma_file(name: str):  # type: ignore[no-untyped-def]
    def seeds(folder: Path) -> list[bytes]:
        return [(write_annotations(folder / "seeds") / "annotations" / "full" / name).read_bytes()]

    return seeds


@target("lemma_frames", ".p", _lemma_file("rec_tpv_frames.p"))
def read_lemma_frames(path: Path) -> object:
    return _exo(path.parent / "input", rec_tpv_frames=path)


@target("lemma_segments", ".p", _lemma_file("rec_tpv_segments_indices.p"))
def read_lemma_segments(path: Path) -> object:
    return _exo(path.parent / "input", rec_tpv_segments_indices=path)


def published_pairs(_: Path) -> list[bytes]:
    images = [[f"/author/LEMMA/frames/v1/{frame:05d}.jpg"] for frame in range(8)]
    candidate = {"0": [[0], [-1], images, "get cup"]}
    tiers = {"same": [candidate], "sub": [candidate], "sub_verb": []}
    return [json.dumps({"0": tiers, "1": {"same": []}}).encode()]


@target("pairs_json", ".json", published_pairs)
def read_pairs(path: Path) -> object:
    return import_pairs(path, 2, _exo(path.parent / "input"))


@target("pairs_text", ".txt", lambda _: [b"0,1,x,0,0.9,1.0\n1,0\n"])
def read_pair_choices(path: Path) -> object:
    table = path.with_suffix(".json")
    table.write_bytes(published_pairs(path)[0])
    return import_pairs(table, 2, _exo(path.parent / "input"), path)
