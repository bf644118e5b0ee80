"""Pickled tables of many versions of pandas give one and the same table.

`frames/` holds them as `frames/write_frame.py` wrote them under each version.
"""

import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slowfast.utils.errors import UserError
from slowfast.utils.safe_pickle.load import load_dataframe

FOLDER = Path(__file__).parent / "frames"
FRAMES = sorted(FOLDER.glob("*.pkl"))


def _writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_frame", FOLDER / "write_frame.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = _writer()


def _cells(column: pd.Series) -> list[Any]:
    """Plain cells; None for every kind of missing value."""
    cells = column.tolist()
    return [None if not isinstance(cell, list) and pd.isna(cell) else cell for cell in cells]


def _none_for_nan(cells: Sequence[Any]) -> list[Any]:
    return [None if cell != cell else cell for cell in cells]


def _check(frame: pd.DataFrame) -> None:
    assert frame.index.tolist() == WRITER.IDS
    assert frame.index.name == "narration_id"
    expected = {name: cells for name, cells in WRITER.CELLS.items() if name != "noun_class"}
    special = ["date", "duration", "category"]
    nullable = [name for name in ("integers", "text") if name in frame.columns]
    assert frame.columns.tolist() == [*expected, *special, *nullable]
    for name, cells in expected.items():
        assert _cells(frame[name]) == _none_for_nan(cells), name
    assert frame["start_frame"].dtype == np.int64
    assert frame["small"].dtype == np.uint8
    assert frame["labelled"].dtype == bool
    dates = [
        cell and cell.isoformat(sep=" ", timespec="milliseconds") for cell in _cells(frame["date"])
    ]
    assert dates == [*WRITER.DATES, None]
    assert [cell.total_seconds() for cell in frame["duration"]] == WRITER.SECONDS
    assert _cells(frame["category"]) == WRITER.CATEGORY
    if nullable:
        assert _cells(frame["integers"]) == WRITER.INTEGERS
        assert _cells(frame["text"]) == WRITER.TEXT


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: path.stem)
def test_every_version_of_pandas_is_read(path: Path) -> None:
    _check(load_dataframe(path))


def test_the_versions_are_there() -> None:
    versions = {path.stem.split("_")[1].rsplit(".", 1)[0] for path in FRAMES}
    assert {"0.25", "1.0", "1.5", "2.2", "3.1"} <= versions


def test_the_installed_pandas_is_read(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "write_frame.py", tmp_path], check=True)
    (written,) = tmp_path.glob("*.pkl")
    _check(load_dataframe(written))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_slices_and_other_indexes(protocol: int, tmp_path: Path) -> None:
    whole = WRITER.build()
    for number, frame in enumerate(
        (
            whole.iloc[:0],
            whole.iloc[::-1],
            whole.iloc[[3, 1]],
            whole.reset_index(),
            whole.set_index("start_frame"),
            whole[["stop_frame", "narration", "start_frame"]],
            pd.DataFrame({"only": [1, 2]}, index=[7, 9]),
        )
    ):
        path = tmp_path / f"{number}.pkl"
        path.write_bytes(pickle.dumps(frame, protocol=protocol))
        read = load_dataframe(path)
        assert read.columns.tolist() == frame.columns.tolist()
        assert read.index.tolist() == frame.index.tolist()
        assert read.index.name == frame.index.name
        for name in frame.columns:
            assert _cells(read[name]) == _cells(frame[name]), name


def test_what_is_not_read_names_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "zoned.pkl"
    pd.DataFrame({"at": pd.to_datetime(["2020-01-01"], utc=True)}).to_pickle(path)
    with pytest.raises(UserError, match=r"DatetimeTZDtype.*convert it to \.csv"):
        load_dataframe(path)


def test_columns_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    data = pickle.dumps(pd.DataFrame({"ab": [1, 2], "cd": [3, 4]}), protocol=4)
    path = tmp_path / "odd.pkl"
    path.write_bytes(data.replace(b"K\x02K\x02\x86", b"K\x01K\x04\x86"))
    assert path.read_bytes() != data
    with pytest.raises(UserError, match=r"odd\.pkl"):
        load_dataframe(path)


@pytest.mark.parametrize("name", ["EPIC_100_validation", "EPIC_train_invalid_labels"])
def test_published_lists(name: str, real: Path) -> None:
    frame = load_dataframe(real / f"{name}.pkl")
    assert len(frame) == {"EPIC_100_validation": 9668, "EPIC_train_invalid_labels": 116}[name]
    assert {"video_id", "start_frame", "stop_frame", "narration", "all_nouns"} <= set(frame.columns)
