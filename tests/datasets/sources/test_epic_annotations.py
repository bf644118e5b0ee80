import csv
import pathlib
import pickle

import pytest

from slowfast.datasets.sources.epic_55_split import EPIC_55_VALIDATION_VIDEOS, write_epic_55_split
from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.utils.errors import UserError

COLUMNS = {
    "narration_id": "P01_01_0",
    "participant_id": "P01",
    "video_id": "P01_01",
    "narration_timestamp": "",
    "start_frame": "8",
    "stop_frame": "202",
    "narration": "open door",
    "verb_class": "3",
    "noun_class": "5",
}


def write(path, *changes, without=()):
    """A frame list of one row per change of COLUMNS."""
    names = [name for name in COLUMNS if name not in without]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**COLUMNS, **change} for change in changes)
    return path


def read(path, labelled=True, epic_100=True):
    return read_segments(path, epic_100=epic_100, num_classes=(97, 300), labelled=labelled)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "list.csv"


def test_a_row(path):
    (segment,) = read(write(path, {}))
    assert segment.segment_id == "P01_01_0"
    assert (segment.video_id, segment.participant_id) == ("P01_01", "P01")
    assert (segment.start_frame, segment.stop_frame, segment.num_frames) == (8, 202, 195)
    assert segment.narration == "open door"
    assert segment.labels == ((3,), (5,))


def test_cells_that_look_missing_stay_text(path):
    (segment,) = read(write(path, {"narration": "NA", "video_id": "nan"}))
    assert (segment.narration, segment.video_id) == ("NA", "nan")


def test_a_test_list_may_lack_labels_and_narrations(path):
    write(path, {}, without=("verb_class", "noun_class", "narration"))
    (segment,) = read(path, labelled=False)
    assert segment.labels == ((), ())
    assert segment.narration == ""
    with pytest.raises(UserError, match=r"list\.csv has no column verb_class; .*only be tested"):
        read(path)


def test_a_labelled_test_list_keeps_its_labels(path):
    assert read(write(path, {}), labelled=False)[0].labels == ((3,), (5,))


@pytest.mark.parametrize(
    ("changes", "without", "message"),
    [
        ([], (), r"list\.csv has no rows"),
        ([{}], ("video_id",), r"list\.csv has no column video_id"),
        ([{}], ("narration_id",), r"no column narration_id; DATA\.EPIC_100 is True"),
        ([{"verb_class": "97"}], (), r"P01_01_0 has verb_class 97, outside the 97.*NUM_CLASSES_LI"),
        ([{"noun_class": "-1"}], (), r"1 rows have no noun_class, the first of them P01_01_0"),
        ([{"verb_class": ""}], (), r"1 rows have no verb_class, the first of them P01_01_0"),
        ([{"start_frame": "8.5"}], (), r"start_frame '8\.5', not a whole number"),
        ([{"stop_frame": "7"}], (), r"P01_01_0 has stop_frame 7 before start_frame 8"),
        ([{}, {}], (), r"narration_id P01_01_0 is in several rows"),
    ],
)
def test_mistakes_are_named_in_one_line(path, changes, without, message):
    write(path, *changes, without=without)
    with pytest.raises(UserError, match=message) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    assert "list.csv" in str(raised.value)


def test_files_that_are_no_lists(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.csv does not exist.*DATA\.PATH_TO_DATA_DIR"):
        read(tmp_path / "nowhere.csv")
    for name, content in (("empty.csv", b""), ("binary.csv", b"\xff\xfe\x00\x81\x8d\n\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}, a frame list, is (empty|text in UTF-16)"):
            read(tmp_path / name)
    (tmp_path / "list.txt").write_text("a")
    with pytest.raises(UserError, match=r"list\.txt is neither \.csv nor \.pkl"):
        read(tmp_path / "list.txt")


@pytest.fixture
def epic_55(tmp_path):
    """One row of each validation video of EPIC-55 and two of another video."""
    path = tmp_path / "official" / "EPIC_train_action_labels.csv"
    path.parent.mkdir()
    videos = [*sorted(EPIC_55_VALIDATION_VIDEOS), "P01_01", "P01_01"]
    rows = [{"uid": str(uid), "video_id": video} for uid, video in enumerate(videos)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["uid", *list(COLUMNS)[1:]], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**COLUMNS, **row} for row in rows)
    return path


def test_the_split_of_epic_55(epic_55, tmp_path):
    written = write_epic_55_split(epic_55, tmp_path / "split")
    assert {path.name: rows for path, rows in written.items()} == {
        "EPIC_train_action_labels.csv": 2,
        "EPIC_val_action_labels.csv": 14,
    }
    whole = read(epic_55, epic_100=False)
    train, validation = (read(path, epic_100=False) for path in written)
    assert validation == whole[:14]
    assert train == whole[14:]
    assert sorted(path.name for path in (tmp_path / "split").iterdir()) == sorted(
        path.name for path in written
    )


def test_the_split_never_overwrites_its_list(epic_55):
    before = epic_55.read_bytes()
    with pytest.raises(UserError, match="overwritten"):
        write_epic_55_split(epic_55, epic_55.parent)
    assert epic_55.read_bytes() == before


def test_a_list_without_the_validation_videos_is_not_split(path, tmp_path):
    with pytest.raises(UserError, match="14 validation video"):
        write_epic_55_split(write(path, {}), tmp_path / "split")
    assert not (tmp_path / "split").exists()


class Payload:
    """Writes a file if it is unpickled by an unsafe reader."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (pathlib.Path.touch, (self.mark,))


def test_a_hostile_pickle_runs_nothing(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "list.pkl").write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(UserError, match=r"list\.pkl"):
        read(tmp_path / "list.pkl")
    assert not mark.exists()
    pickle.loads((tmp_path / "list.pkl").read_bytes())
    assert mark.exists()
