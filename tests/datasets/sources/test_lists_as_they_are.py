"""Lists in other forms: suffixes, several lists in one key, damaged files."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from slowfast.datasets.sources.epic_annotations import read_segments, read_segments_of
from slowfast.datasets.sources.frame_lists import list_paths
from slowfast.utils.errors import UserError

COLUMNS = (
    "narration_id,participant_id,video_id,start_frame,stop_frame,narration,verb_class,noun_class"
)


def rows(*cells: tuple[str, str], first: int = 0) -> str:
    """Rows with the given verb and noun cells."""
    lines = [
        f"P01_01_{first + k},P01,P01_01,{1 + 10 * k},{9 + 10 * k},open door,{verb},{noun}"
        for k, (verb, noun) in enumerate(cells)
    ]
    return "\n".join([COLUMNS, *lines]) + "\n"


def read(path: Path, *, labelled: bool = False):  # type: ignore[no-untyped-def]
    return read_segments(path, epic_100=True, num_classes=[97, 300], labelled=labelled)


@pytest.mark.parametrize("blank", ["", " ", "-1", "nan", "NaN", "N/A", "NULL"])
def test_labels_are_read_by_cell(
    tmp_path: Path, blank: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(rows(("3", "4"), (blank, "5"), (blank, blank)))
    with caplog.at_level(logging.INFO, logger="slowfast"):
        labels = [segment.labels for segment in read(path)]
    assert labels == [((3,), (4,)), ((), (5,)), ((), ())]
    assert "2 of 3 rows have no verb_class" in caplog.text
    with pytest.raises(UserError, match="2 rows have no verb_class, the first of them P01_01_1"):
        read(path, labelled=True)


def test_nan_in_a_pickle_is_unlabelled(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(rows(("3", "4")))
    table = pd.read_csv(tmp_path / "list.csv")
    table["verb_class"] = float("nan")
    table.to_pickle(tmp_path / "list.pkl")
    assert read(tmp_path / "list.pkl")[0].labels == ((), (4,))


def test_one_label_column_of_two(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "list.csv"
    path.write_text(rows(("3", "4")))
    pd.read_csv(path).drop(columns="noun_class").to_csv(path, index=False)
    with caplog.at_level(logging.INFO, logger="slowfast"):
        assert read(path)[0].labels == ((3,), ())
    assert "has no column noun_class: its rows are treated as unlabelled" in caplog.text
    with pytest.raises(UserError, match="has no column noun_class"):
        read(path, labelled=True)


@pytest.mark.parametrize(("asked", "there"), [("list.csv", "list.pkl"), ("list.pkl", "list.csv")])
def test_the_other_form_is_taken(
    tmp_path: Path, asked: str, there: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "made.csv"
    path.write_text(rows(("3", "4")))
    table = pd.read_csv(path)
    save = table.to_pickle if there.endswith("pkl") else lambda p: table.to_csv(p, index=False)
    save(tmp_path / there)
    with caplog.at_level(logging.INFO, logger="slowfast"):
        assert len(read(tmp_path / asked)) == 1
    assert f"{asked} does not exist: reading {there}" in caplog.text


def test_several_lists_in_one_key(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(rows(("3", "4"), ("3", "4")))
    (tmp_path / "b.csv").write_text(rows(("5", "6"), first=2))
    options = {"epic_100": True, "num_classes": [97, 300], "labelled": True}
    found = read_segments_of(list_paths(tmp_path, "a.csv, b.csv"), **options)  # type: ignore[arg-type]
    assert [segment.segment_id for segment in found] == ["P01_01_0", "P01_01_1", "P01_01_2"]
    with pytest.raises(UserError, match=r"b.csv has the segment P01_01_2, which .*b.csv has too"):
        read_segments_of(list_paths(tmp_path, "b.csv,b.csv"), **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"'a\.csv,' has an empty list name"):
        list_paths(tmp_path, "a.csv,")
    (tmp_path / "a,b.csv").write_text("")
    assert list_paths(tmp_path, "a,b.csv") == [tmp_path / "a,b.csv"]
    assert list_paths("https://h/epic", "a.csv,b.csv") == [f"https://h/epic/{n}.csv" for n in "ab"]


def test_a_byte_order_mark_and_trailing_commas(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    lines = rows(("3", "4")).splitlines()
    path.write_text("\ufeff" + "\n".join(f"{line}," for line in lines) + "\n", encoding="utf-8")
    assert read(path)[0].labels == ((3,), (4,))


def test_trailing_commas_below_a_header_without_one(tmp_path: Path) -> None:
    path = tmp_path / "LIST.CSV"
    header, *lines = rows(("3", "4"), ("5", "6")).splitlines()
    path.write_text("\n".join([header, *(f"{line}," for line in lines)]) + "\n")
    assert [segment.labels for segment in read(path)] == [((3,), (4,)), ((5,), (6,))]
    path.write_text("\n".join([header, *(f"{line},7" for line in lines)]) + "\n")
    with pytest.raises(UserError, match=r"LIST.CSV has rows with more cells than columns"):
        read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (COLUMNS.encode("utf-16"), "is text in UTF-16"),
        (b"sep=;\n" + COLUMNS.encode(), "begins with the line sep="),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "run `git lfs pull`"),
        (b"PK\x03\x04xl/worksheets", "is a spreadsheet or an archive"),
        (COLUMNS.replace(",", ";").encode(), "is separated by semicolons"),
        (COLUMNS.replace(",", "\t").encode(), "is separated by tabs"),
    ],
)
def test_files_that_are_saved_as_csv(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        read(path)
