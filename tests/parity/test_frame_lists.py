"""Real frame lists: pickles of any age and CSV give the same segments; the EPIC-55 split."""

import pickle

import pandas as pd
import pytest

from slowfast.datasets.sources.epic_55_split import split_epic_55
from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.datasets.sources.frame_lists import read_table
from slowfast.utils.errors import UserError

EPIC_100 = {"epic_100": True, "num_classes": (97, 300), "labelled": True}
EPIC_55 = {"epic_100": False, "num_classes": (125, 352), "labelled": True}


def test_csv_and_pickle_are_the_same_segments(real):
    from_csv = read_segments(real / "EPIC_100_validation.csv", **EPIC_100)
    from_pickle = read_segments(real / "EPIC_100_validation.pkl", **EPIC_100)
    assert len(from_csv) == 9668
    assert from_csv == from_pickle


def test_facts_of_the_validation_list(real):
    segments = read_segments(real / "EPIC_100_validation.csv", **EPIC_100)
    lengths = [segment.num_frames for segment in segments]
    assert len({segment.video_id for segment in segments}) == 138
    assert (min(lengths), max(lengths)) == (31, 8820)
    assert round(100 * sum(length <= 63 for length in lengths) / len(lengths), 1) == 18.6
    assert len({segment.labels[0] for segment in segments}) == 78
    assert len({segment.labels for segment in segments}) == 1352


def test_retrieval_free_lists_and_training_list(real):
    segments = read_segments(real / "EPIC_100_uda_source_train.csv", **EPIC_100)
    assert len(segments) == 16115
    assert segments[0].narration == "open door"
    assert segments[0].labels == ((3,), (3,))
    assert (segments[0].start_frame, segments[0].stop_frame) == (8, 202)


def test_epic_55_list_and_split(real, tmp_path):
    path = real / "EPIC_train_action_labels.csv"
    segments = read_segments(path, **EPIC_55)
    assert len(segments) == 28472
    train, validation = split_epic_55(read_table(path), path)
    assert (len(train), len(validation)) == (26074, 2398)
    assert len(set(train["video_id"])) == 258
    assert len(set(validation["video_id"])) == 14
    halves = []
    for name, table in (("train", train), ("val", validation)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        halves += read_segments(tmp_path / f"{name}.csv", **EPIC_55)
    assert sorted(s.segment_id for s in halves) == sorted(s.segment_id for s in segments)


def test_epic_55_pickle_of_this_pandas(real, tmp_path):
    """Indexed by uid, as the published split files are."""
    table = pd.read_csv(real / "EPIC_train_action_labels.csv").head(50).set_index("uid")
    with (tmp_path / "list.pkl").open("wb") as file:
        pickle.dump(table, file, protocol=4)
    from_pickle = read_segments(tmp_path / "list.pkl", **EPIC_55)
    assert from_pickle == read_segments(real / "EPIC_train_action_labels.csv", **EPIC_55)[:50]


def test_invalid_labels_parse_and_are_refused_for_training(real):
    path = real / "EPIC_train_invalid_labels.pkl"
    assert len(read_table(path)) == 116
    with pytest.raises(UserError, match=r"EPIC_train_invalid_labels\.pkl.*verb_class"):
        read_segments(path, **EPIC_55)
