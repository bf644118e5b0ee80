"""The pair table: file, refusals and the draw of candidates."""

import dataclasses
import json
import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slowfast.datasets.pairing.pairs import PairTable, Tier, narration_hash
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream, generator

SETTINGS = {"mining": "text", "top_k": 3, "encoder": "fake", "label_map": ""}


def segments(count: int, view: str) -> list[Segment]:
    return [
        Segment(f"{view}{n}", "v", "p", 0, 9, f"{view} narration {n % 4}", ((0,), (0,)))
        for n in range(count)
    ]


EGO, EXO = segments(5, "ego"), segments(7, "exo")


def make_table(**changes: object) -> PairTable:
    indices = np.array([[0, 1, 2], [3, -1, -1], [-1, -1, -1], [6, 5, -1], [4, 4, 4]], np.int32)
    fields: dict = {
        "indices": indices,
        "similarity": np.linspace(0, 1, 15, dtype=np.float32).reshape(5, 3),
        "tier": np.full((5, 3), Tier.VERB, np.uint8),
        "settings": SETTINGS,
        "ego_hash": narration_hash(EGO),
        "exo_hash": narration_hash(EXO),
        "exo_count": len(EXO),
    }
    return PairTable(**{**fields, **changes})


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "pairs.npz"
    table = make_table()
    table.save(path)
    found = PairTable.load(path)
    for field in dataclasses.fields(PairTable):
        wanted, got = getattr(table, field.name), getattr(found, field.name)
        assert np.array_equal(wanted, got) if isinstance(wanted, np.ndarray) else wanted == got
    assert [item.name for item in path.parent.iterdir()] == ["pairs.npz"]
    found.check(path, EGO, EXO, SETTINGS)


def test_equal_tables_are_equal_files(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        make_table().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_size_for_epic_100(tmp_path: Path) -> None:
    """67,217 rows of 3 candidates, incompressible, stay below 2 MB."""
    rng = np.random.Generator(np.random.PCG64(0))
    shape = (67217, 3)
    table = make_table(
        indices=rng.integers(0, 10000, shape).astype(np.int32),
        similarity=rng.random(shape, np.float32),
        tier=rng.integers(0, 5, shape).astype(np.uint8),
        exo_count=10000,
    )
    table.save(tmp_path / "pairs.npz")
    assert (tmp_path / "pairs.npz").stat().st_size < 2_000_000


def _other_narration(listed: list[Segment]) -> list[Segment]:
    return [dataclasses.replace(listed[0], narration="something else"), *listed[1:]]


@pytest.mark.parametrize(
    ("ego", "exo", "settings", "message"),
    [
        (EGO[:4], EXO, {}, r"is for 5 ego segments, but the data set has 4; run tools/mine_pairs"),
        (EGO, [*EXO, *EXO], {}, r"is for 7 exo segments, but the data set has 14; run tools"),
        (_other_narration(EGO), EXO, {}, r"for other ego segments.*run tools/mine_pairs"),
        (EGO, _other_narration(EXO), {}, r"for other exo segments.*run tools/mine_pairs"),
        (EGO[::-1], EXO, {}, r"for other ego segments"),
        (
            EGO,
            EXO,
            {"mining": "tiers"},
            r"mining 'text', but the config has 'tiers'; set SUML.PAIRS.FILE",
        ),
        (EGO, EXO, {"top_k": 5}, r"top_k 3, but the config has 5; set SUML.PAIRS.FILE"),
        (
            EGO,
            EXO,
            {"encoder": "other"},
            r"encoder 'fake', but the config has 'other'; set SUML.PAIRS.FILE",
        ),
    ],
)
def test_a_table_for_other_data_is_refused(
    ego: list[Segment], exo: list[Segment], settings: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_table().check(Path("pairs.npz"), ego, exo, {**SETTINGS, **settings})


def test_an_imported_table_fits_any_way_of_mining_but_no_other_data() -> None:
    table = make_table(settings={**SETTINGS, "mining": "published"})
    table.check(Path("pairs.npz"), EGO, EXO, {**SETTINGS, "mining": "tiers", "top_k": 1})
    with pytest.raises(UserError, match="other ego segments"):
        table.check(Path("pairs.npz"), EGO[::-1], EXO, SETTINGS)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing.npz does not exist; run tools/mine_pairs.py"):
        PairTable.load(tmp_path / "nothing.npz")


def test_another_version(tmp_path: Path) -> None:
    path = tmp_path / "pairs.npz"
    np.savez(path, header=np.array(json.dumps({"version": 3})))
    with pytest.raises(UserError, match=r"of version 3, but this program reads 2.*; run tools"):
        PairTable.load(path)


def _without(name: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with np.load(path) as content:
            arrays = {key: content[key] for key in content.files if key != name}
        np.savez(path, **arrays)

    return spoil


def _with(**changes: np.ndarray) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with np.load(path) as content:
            arrays = dict(content)
        np.savez(path, **{**arrays, **changes})

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"hello"),
        lambda path: path.write_bytes(path.read_bytes()[:300]),
        lambda path: np.save(path.open("wb"), np.arange(3)),
        _without("header"),
        _without("tier"),
        _with(tier=np.zeros((5, 2), np.uint8)),
        _with(indices=np.full((5, 3), 7, np.int32)),
        _with(indices=np.full((5, 3), -2, np.int32)),
        _with(similarity=np.zeros((5, 3), np.float64)),
        _with(header=np.array("[1, 2]")),
        _with(header=np.array(json.dumps({"version": 1, "exo_count": 7}))),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "pairs.npz"
    make_table().save(path)
    spoil(path)
    with pytest.raises(UserError, match=r"npz( is not| as|,) a pair table.*; run tools/mine"):
        PairTable.load(path)


def test_a_changed_array_is_noticed(tmp_path: Path) -> None:
    """The checksum of the zip is correct, but the digest is not."""
    path = tmp_path / "pairs.npz"
    table = make_table()
    table.save(path)
    _with(similarity=np.nextafter(table.similarity, np.float32(0)))(path)
    with pytest.raises(UserError, match="similarity is damaged: the digest differs"):
        PairTable.load(path)


def test_a_table_of_version_1_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = make_table()
    header = {
        "version": 1,
        "settings": dict(table.settings),
        **{name: getattr(table, name) for name in ("ego_hash", "exo_hash", "exo_count")},
    }
    arrays = {name: getattr(table, name) for name in ("indices", "similarity", "tier")}
    np.savez_compressed(tmp_path / "old.npz", header=np.array(json.dumps(header)), **arrays)
    with caplog.at_level("INFO"):
        read = PairTable.load(tmp_path / "old.npz")
    np.testing.assert_array_equal(read.indices, table.indices)
    assert "has no digest" in caplog.text


def test_a_similarity_that_is_no_cosine_names_its_row() -> None:
    table = make_table()
    similarity = table.similarity.copy()
    similarity[2, 0] = np.nan
    with pytest.raises(ValueError, match="row 2 has a similarity that is not a cosine"):
        dataclasses.replace(table, similarity=similarity)


class _Mark:
    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (self._path,)


def test_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "pairs.npz"
    payload = np.empty(1, object)
    payload[0] = _Mark(mark)
    for write in (
        lambda: path.write_bytes(pickle.dumps(_Mark(mark))),
        lambda: np.savez(path, header=payload),
        lambda: np.savez(path, header=np.array(json.dumps({"version": 1})), indices=payload),
    ):
        write()
        with pytest.raises(UserError, match=r"( is not| as|,) a pair table.*run tools/mine"):
            PairTable.load(path)
        assert not mark.exists()


def test_draw_is_uniform_over_the_candidates() -> None:
    table = make_table()
    drawn = [
        Counter(table.draw(row, generator(3, epoch, row, Stream.PAIR)) for epoch in range(600))
        for row in range(table.ego_count)
    ]
    assert set(drawn[0]) == {0, 1, 2}
    assert min(drawn[0].values()) > 150  # 200 expected; 150 is 4 standard deviations away
    assert set(drawn[1]) == {3}
    assert set(drawn[3]) == {5, 6}


def test_a_row_without_candidates_draws_any_exo_segment() -> None:
    table = make_table()
    drawn = {table.draw(2, generator(3, epoch, 2, Stream.PAIR)) for epoch in range(200)}
    assert drawn == set(range(7))
