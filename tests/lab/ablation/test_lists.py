"""Lists of a part of another list's videos."""

import os

import pandas as pd
import pytest

from slowfast.lab.ablation.lists import part_text, write_lists
from slowfast.lab.ablation.plan import PartList, read_plan
from slowfast.utils.errors import UserError


@pytest.fixture
def source(tmp_path):
    """Videos a to d with two rows each, and a late row of a."""
    rows = [f'{v}{i},{v},"do, it"' for v in "abcd" for i in range(2)] + ['a9,a,"do, it"']
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["narration_id,video_id,narration", *rows]) + "\n")
    return path


def ids(text: str) -> list[str]:
    return [line.split(",")[0] for line in text.splitlines()[1:]]


def test_whole_videos_by_their_number(source):
    text = part_text(source, PartList("x.csv", "all.csv", 4, (0, 3)))
    assert ids(text) == ["a0", "a1", "d0", "d1", "a9"]
    assert text.splitlines()[1] == 'a0,a,"do, it"'


def test_parts_are_disjoint_and_whole(source):
    parts = [part_text(source, PartList("x.csv", "all.csv", 4, take)) for take in ((0, 1), (2, 3))]
    assert sorted(ids(parts[0]) + ids(parts[1])) == sorted(ids(source.read_text()))


def test_a_written_list_is_not_written_again(plan_file, content, annotations):
    content["lists"] = {"part.csv": {"of": "EPIC_100_train.csv", "every": 1, "take": [0]}}
    plan = read_plan(plan_file())
    write_lists(plan)
    written = annotations / "part.csv"
    assert written.read_text() == (annotations / "EPIC_100_train.csv").read_text()
    before = written.stat().st_mtime_ns
    write_lists(plan)
    assert written.stat().st_mtime_ns == before
    written.write_text("something else")
    with pytest.raises(UserError, match=r"part.csv exists and was not written by this program"):
        write_lists(plan)
    written.unlink()
    write_lists(plan)
    assert written.stat().st_mtime_ns > before


@pytest.mark.parametrize("name", ["./EPIC_100_train.csv", "../victim.csv", "/tmp/victim.csv"])
def test_names_of_lists_are_no_paths(plan_file, content, name):
    content["lists"] = {name: {"of": "EPIC_100_train.csv", "every": 2, "take": [0]}}
    with pytest.raises(UserError, match="a list is named by a file name, without folders"):
        read_plan(plan_file())


def test_an_official_list_is_not_overwritten(plan_file, content, annotations):
    content["lists"] = {"victim.csv": {"of": "EPIC_100_train.csv", "every": 2, "take": [0]}}
    victim = annotations / "victim.csv"
    victim.write_text("precious")
    with pytest.raises(UserError, match=r"victim.csv exists and was not written by this program"):
        write_lists(read_plan(plan_file()))
    victim.unlink()
    victim.symlink_to("EPIC_100_train.csv")
    with pytest.raises(UserError, match="would overwrite its own source"):
        write_lists(read_plan(plan_file()))


def test_what_is_in_place_of_a_list(plan_file, content, annotations):
    content["lists"] = {"part.csv": {"of": "EPIC_100_train.csv", "every": 2, "take": [0]}}
    target = annotations / "part.csv"
    os.mkfifo(target)
    with pytest.raises(UserError, match=r"part.csv is a named pipe"):
        write_lists(read_plan(plan_file()))
    target.unlink()
    target.mkdir()
    with pytest.raises(UserError, match=r"part.csv is a folder"):
        write_lists(read_plan(plan_file()))
    target.rmdir()
    target.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"cannot read .*part.csv as a frame list"):
        write_lists(read_plan(plan_file()))


@pytest.mark.parametrize("name", ["a\0.csv", "a,b.csv", "a\n.csv"])
def test_names_of_lists_can_be_written_in_a_key(plan_file, content, name):
    content["lists"] = {name: {"of": "EPIC_100_train.csv", "every": 2, "take": [0]}}
    with pytest.raises(UserError, match="without commas and control characters"):
        read_plan(plan_file())


def test_part_of_a_pickled_list(source, tmp_path):
    """Of the form that the paper's README names; the ids are the index of the table."""
    expected = part_text(source, PartList("x.csv", "all.csv", 2, (0,)))
    pd.read_csv(source).set_index("narration_id").to_pickle(tmp_path / "all.pkl")
    source.unlink()
    assert part_text(source, PartList("x.csv", "all.csv", 2, (0,))) == expected


def test_a_list_is_not_written_to_a_url(plan_file, content):
    content["lists"] = {"part.csv": {"of": "EPIC_100_train.csv", "every": 1, "take": [0]}}
    content["common"] = {**content["common"], "DATA.PATH_TO_DATA_DIR": "https://h/annotations"}
    with pytest.raises(UserError, match=r"https://h/annotations, but part\.csv cannot be written"):
        write_lists(read_plan(plan_file()))


def test_lists_that_cannot_be_made(source, tmp_path):
    with pytest.raises(UserError, match="would be empty"):
        part_text(source, PartList("x.csv", "all.csv", 9, (8,)))
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        part_text(tmp_path / "none.csv", PartList("x.csv", "none.csv", 2, (0,)))
    source.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column video_id"):
        part_text(source, PartList("x.csv", "all.csv", 2, (0,)))
