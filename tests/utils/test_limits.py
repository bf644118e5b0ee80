"""Files of a few hundred bytes that claim gigabytes, minutes, or more names than a config has."""

from __future__ import annotations

import io
import json
import pickle
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slowfast.config import load_config
from slowfast.datasets.pairing.label_map import read_class_table
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.evaluation.predictions import read_predictions
from slowfast.utils.errors import UserError
from slowfast.utils.safe_pickle.load import load_dataframe, load_plain
from tests.utils.hostile import Call

_ROOM = 400 << 20
_DEPTH = 60


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """Limits memory, so that a reader that trusts the file fails instead of filling the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def _dag(start: bytes, level: bytes) -> bytes:
    """A pickle of nested tuples, each of which holds the one before twice."""
    levels = b"".join(
        b"h" + bytes([n]) + b"h" + bytes([n]) + level + b"q" + bytes([n + 1]) for n in range(_DEPTH)
    )
    return b"\x80\x02" + start + levels


_TUPLES = _dag(b"K\x01q\x00", b"\x86")
_PICKLES = {
    "memo index": b"\x80\x02]r\x00\x00\x00\x7f.",
    "bytearray of a length": pickle.dumps(Call(bytearray, 1 << 33)),
    "bytes of a length": b"\x80\x04\x96" + (1 << 40).to_bytes(8, "little") + b"a.",
    "key": b"\x80\x02}" + _TUPLES[2:] + b"K\x01s.",
    "member of a set": pickle.dumps(Call(set, [0]), 2)[:-1] + _TUPLES[2:] + b"\x85\x81.",
    "member of a frozenset": b"\x80\x04(" + _TUPLES[2:] + b"\x91.",
    "large integer as a key": b"\x80\x02}" + b"\x8b\x00\x01\x00\x00" + b"\x01" * 256 + b"K\x01s.",
}


@pytest.mark.parametrize("name", sorted(_PICKLES))
def test_a_pickle_takes_no_more_than_its_size_allows(name: str, tmp_path: Path) -> None:
    path = tmp_path / "input.pkl"
    path.write_bytes(_PICKLES[name])
    # The memo of the parser is a dict, so an index takes no memory and is not a fault.
    if name == "memo index":
        assert load_plain(path) == []
        return
    with pytest.raises(UserError, match=r"input\.pkl"):
        load_plain(path)


@pytest.mark.parametrize("unit", [b"s],i4,M8[1s", b"s],(1000,)f8,M8[1s", b"fortnight"])
def test_no_type_is_made_of_text_of_the_file(unit: bytes, tmp_path: Path) -> None:
    data = pickle.dumps(np.array(["2020-01-01"], "M8[s]"), protocol=2)
    written = b"X\x01\x00\x00\x00s" if b"X\x01\x00\x00\x00s" in data else b"C\x01s"
    assert written in data
    path = tmp_path / "dates.pkl"
    path.write_bytes(data.replace(written, b"X" + len(unit).to_bytes(4, "little") + unit))
    with pytest.raises(UserError, match="are not read"):
        load_plain(path)


def test_text_with_codes_that_are_no_characters_is_refused(tmp_path: Path) -> None:
    content = {"verb_output": np.zeros((1, 2), np.float32), "narration_id": np.array(["a"])}
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps(content).replace(b"a\0\0\0", b"a\0\0\x7f"))
    with pytest.raises(UserError, match="not a character"):
        read_predictions(path)


def test_one_long_id_is_refused(tmp_path: Path) -> None:
    ids = ["a" * 200_000, *map(str, range(3999))]
    content = {"verb_output": np.zeros((4000, 2), np.float32), "narration_id": ids}
    path = tmp_path / "predictions.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="of 200000 characters"):
        read_predictions(path)


def test_a_range_of_rows_is_no_longer_than_the_file_allows(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "table.pkl"
    data = pickle.dumps(pd.DataFrame(index=pd.RangeIndex(1_234_567)), protocol=2)
    assert b"J" + (1_234_567).to_bytes(4, "little") in data
    path.write_bytes(
        data.replace((1_234_567).to_bytes(4, "little"), (1 << 30).to_bytes(4, "little"))
    )
    with pytest.raises(UserError, match=r"table\.pkl .* claims more than"):
        load_dataframe(path)


def test_an_archive_of_zeros_is_not_unpacked(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array(json.dumps({"version": 1})))
    path = tmp_path / "pairs.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", file.getvalue())
        with archive.open("indices.npy", "w") as member:
            for _ in range(140):
                member.write(bytes(1 << 20))
    with pytest.raises(UserError, match="claims more than"):
        PairTable.load(path)


def test_aliases_of_yaml_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    lines = ["a0: &a0 {X: 1}"]
    lines += [f"a{n + 1}: &a{n + 1} {{L: *a{n}, R: *a{n}}}" for n in range(40)]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"config\.yaml as a config file .* claims more than"):
        load_config(path)
    path.write_text("a: &a {b: *a}\n")
    with pytest.raises(UserError, match="an alias is part of what it stands for"):
        load_config(path)


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 100_000])
def test_deep_nesting_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"TRAIN: {text}")
    with pytest.raises(UserError, match=r"config\.yaml"):
        load_config(path)


def test_bases_that_share_bases_are_counted(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text("SOLVER:\n  BASE_LR: 0.1\n")
    for n in range(1, 18):
        (tmp_path / f"{n}.yaml").write_text(f"_BASE_: [{n - 1}.yaml, {n - 1}.yaml]\n")
    with pytest.raises(UserError, match=r"_BASE_.* claims more than 64 files"):
        load_config(tmp_path / "17.yaml")
    assert load_config(tmp_path / "4.yaml").SOLVER.BASE_LR == 0.1


@pytest.mark.parametrize("base", ["~nouser/x", "loop", '"nul\\0"'])
def test_a_base_that_cannot_be_reached_is_one_line(base: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / "config.yaml"
    path.write_text(f"_BASE_: {base}\n")
    with pytest.raises(UserError):
        load_config(path)


@pytest.mark.parametrize("cell", ["100000000", "-1", "99999999999999999999"])
def test_class_ids_are_bounded(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(f"id,key,instances\n{cell},take,\"['take']\"\n")
    with pytest.raises(UserError, match=r"classes\.csv: line 2"):
        read_class_table(path)
