"""Narration embeddings as training reads them from the cache."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.datasets.pairing.narrations import NarrationTable, cache_path
from slowfast.semantics.encoder import encode_cached
from slowfast.utils.errors import UserError
from tests.semantics.fake_encoder import WIDTH, make_fake

TEXTS = ["take cup", "open door", "take cup", "wash hands"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encode_cached(TEXTS, encoder="fake", folder=tmp_path, width=WIDTH, make_encode=make_fake)
    return tmp_path


def test_rows_equal_the_encoder(folder: Path) -> None:
    table = NarrationTable.load(folder, "fake", WIDTH, TEXTS)
    wanted = make_fake("fake")(TEXTS)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = table.vectors[table.rows(TEXTS)]
    assert found.dtype == torch.float32
    assert len(table.vectors) == 3
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)  # float32 rounding
    np.testing.assert_allclose(found.norm(dim=1).numpy(), 1, atol=1e-6)


def test_more_texts_than_one_query_takes(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(1201)]
    encode_cached(texts, encoder="fake", folder=tmp_path, width=WIDTH, make_encode=make_fake)
    table = NarrationTable.load(tmp_path, "fake", WIDTH, texts)
    assert table.rows(texts[::-1]).tolist() == list(range(1200, -1, -1))


def test_missing_texts_name_the_command(folder: Path) -> None:
    with pytest.raises(UserError, match=r"lacks 1 of 2 texts such as 'fly'; run tools/mine_pairs"):
        NarrationTable.load(folder, "fake", WIDTH, ["take cup", "fly"])
    table = NarrationTable.load(folder, "fake", WIDTH, TEXTS)
    with pytest.raises(UserError, match=r"'fly'; run tools/mine_pairs.py"):
        table.rows(["fly"])


def test_missing_cache(folder: Path) -> None:
    with pytest.raises(UserError, match=r"encoder other at .*; run tools/mine_pairs.py"):
        NarrationTable.load(folder, "other", WIDTH, TEXTS)


def test_another_width(folder: Path) -> None:
    with pytest.raises(UserError, match=rf"of width {WIDTH}, but SUML.EMBED_DIM is 4"):
        NarrationTable.load(folder, "fake", 4, TEXTS)


def test_a_file_that_is_no_cache(folder: Path) -> None:
    path = cache_path(folder, "fake")
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match=r"cannot be used .*; set SUML.CACHE_DIR .*, or delete"):
        NarrationTable.load(folder, "fake", WIDTH, TEXTS)


def test_reading_changes_nothing(folder: Path) -> None:
    path = cache_path(folder, "fake")
    before = path.read_bytes()
    NarrationTable.load(folder, "fake", WIDTH, TEXTS)
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]


def test_names_of_cache_files_differ() -> None:
    names = ["a/b", "a_b", "package:a_b", "./a/b"]
    assert len({cache_path("x", name).name for name in names}) == len(names)
