"""Files on disk: the layouts of EPIC-KITCHENS-100 and LEMMA."""

import ast
import csv
import json
import pickle
import re
from collections import defaultdict
from pathlib import Path

import cv2
import pandas as pd
import pytest

SPLITS = ("train", "validation")
FRAME_ROOTS = ("epic-100/dataset", "epic-55/train_rgb_frames", "epic-55/test_rgb_frames")
LABELLED = [
    *("narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp"),
    *("stop_timestamp", "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun"),
    *("noun_class", "all_nouns", "all_noun_classes"),
]


def read_list(sample: Path, split: str) -> pd.DataFrame:
    return pd.read_pickle(sample / f"epic-100/annotations/EPIC_100_{split}.pkl")


def read_classes(sample: Path, kind: str) -> pd.DataFrame:
    return pd.read_csv(sample / f"epic-100/annotations/EPIC_100_{kind}_classes.csv")


def load(sample: Path, name: str) -> list:
    with (sample / "lemma/annotations" / name).open("rb") as file:
        return pickle.load(file) if name.endswith(".p") else json.load(file)


def seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


@pytest.mark.parametrize("split", SPLITS)
def test_csv_and_pickle_hold_the_same_rows(sample, split):
    table = read_list(sample, split)
    with (sample / f"epic-100/annotations/EPIC_100_{split}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == LABELLED == [table.index.name, *table.columns]
    for row, (narration_id, other) in zip(rows, table.iterrows(), strict=True):
        assert row["narration_id"] == narration_id
        assert ast.literal_eval(row["all_nouns"]) == other.all_nouns
        assert row["stop_frame"] == str(other.stop_frame)
        assert row["narration_timestamp"] == (
            "" if pd.isna(other.narration_timestamp) else other.narration_timestamp
        )


def test_columns_and_types_are_those_of_the_published_lists(sample, real):
    published = pd.read_pickle(real / "EPIC_100_validation.pkl")
    table = read_list(sample, "validation")
    assert list(table.columns) == list(published.columns)
    assert table.dtypes.to_dict() == published.dtypes.to_dict()
    assert table.index.name == published.index.name
    assert table.index.dtype == published.index.dtype
    for column in table.columns:
        assert {type(v) for v in table[column]} == {type(v) for v in published[column]}
    for name in ("verb_classes", "noun_classes", "unseen_participant_ids_validation"):
        heads = [
            (folder / f"EPIC_100_{name}.csv").read_text().splitlines()[0]
            for folder in (sample / "epic-100/annotations", real)
        ]
        assert heads[0] == heads[1]


@pytest.mark.parametrize("split", SPLITS)
def test_frame_numbers_follow_from_the_time_stamps(sample, split):
    table = read_list(sample, split)
    for row in table.itertuples():
        fps = 50 if re.fullmatch(r"P\d\d_1\d\d", row.video_id) else 60
        for stamp, frame in (
            (row.start_timestamp, row.start_frame),
            (row.stop_timestamp, row.stop_frame),
        ):
            assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d\d", stamp)
            assert frame == max(int(seconds(stamp) * fps + 1e-6), 1)
    assert table.narration_timestamp.isna().sum() < len(table) / 4
    assert (table.start_frame.groupby(table.video_id).min() == 1).all()


@pytest.mark.parametrize("split", SPLITS)
def test_every_annotated_frame_lies_in_one_folder(sample, settings, split):
    roots = defaultdict(set)
    for row in read_list(sample, split).itertuples():
        found = [
            root
            for root in FRAME_ROOTS
            if (sample / root / row.participant_id / row.video_id).is_dir()
        ]
        assert len(found) == 1
        roots[found[0]].add(row.video_id)
        folder = sample / found[0] / row.participant_id / row.video_id
        for number in range(row.start_frame, row.stop_frame + 1):
            assert (folder / f"frame_{number:010d}.jpg").is_file()
    assert cv2.imread(str(folder / "frame_0000000001.jpg")).shape == (24, 28, 3)
    fallback = {"train": "epic-55/train_rgb_frames", "validation": "epic-55/test_rgb_frames"}
    assert set(roots) == {"epic-100/dataset", fallback[split]}


def test_labels_fit_the_class_tables(sample, settings):
    tables = [read_classes(sample, kind).set_index("id") for kind in ("verb", "noun")]
    assert [len(table) for table in tables] == [settings.num_verbs, settings.num_nouns]
    verbs, nouns = (table.instances.map(ast.literal_eval) for table in tables)
    several = 0
    for split in SPLITS:
        for row in read_list(sample, split).itertuples():
            assert row.verb in verbs[row.verb_class]
            assert row.noun in nouns[row.noun_class]
            assert row.noun_class == row.all_noun_classes[0]
            assert len(row.all_nouns) == len(row.all_noun_classes)
            assert row.narration.startswith(f"{row.verb.replace('-', ' ')} {row.noun}")
            several += len(row.all_nouns) > 1
    assert several > 0


def test_splits_share_no_video_and_one_participant_is_unseen(sample):
    train, validation = (read_list(sample, split) for split in SPLITS)
    assert not set(train.video_id) & set(validation.video_id)
    unseen = pd.read_csv(
        sample / "epic-100/annotations/EPIC_100_unseen_participant_ids_validation.csv"
    ).participant_id
    assert not set(unseen) & set(train.participant_id)


def test_exo_records_are_those_of_lemma(sample):
    records = load(sample, "full/rec_tpv_frames.p")
    verbs, objects, tasks, hois = (
        load(sample, f"metadata/all_{kind}.json") for kind in ("acts", "objs", "tasks", "hois")
    )
    assert hois[0] == "null$"
    people = defaultdict(set)
    for video, frame, person, flow, rgb, box, actions, task_ids, hoi_ids in records:
        assert person not in people[video, frame]
        people[video, frame].add(person)
        assert flow == []
        assert (sample / "lemma" / rgb[0]).is_file()
        assert 0 <= box[0] < box[2] <= 28
        assert 0 <= box[1] < box[3] <= 24
        assert len(actions) == len(task_ids) == len(hoi_ids) <= 3
        for (verb, positions), hoi, named in zip(actions, hoi_ids, task_ids, strict=True):
            assert all(task < len(tasks) for task in named)
            name, _, rest = hois[hoi].partition("$")
            assert name == verbs[verb]
            # Each position is a tag and its objects: {s0}@mug|jar
            tagged = [p.split("@")[-1].split("|") for p in rest.split(":")] if rest else []
            assert tagged == [[objects[i] for i in position] for position in positions]
    assert {frozenset(p) for p in people.values()} == {frozenset({"P1"}), frozenset({"P1", "P2"})}


def test_exo_segments_lie_inside_their_videos_and_some_have_several_labels(sample, settings):
    by_frame = defaultdict(list)
    for record in load(sample, "full/rec_tpv_frames.p"):
        by_frame[record[0], record[1]].append(record)
    null = load(sample, "metadata/all_acts.json").index("null")
    segments = load(sample, "full/rec_tpv_segments_indices.p")
    assert segments == load(sample, "full/rec_fpv_segments_indices.p")
    verbs_per_segment, nouns_per_segment = [], []
    for video, start, length in segments:
        labels = {
            repr([record[6:] for record in by_frame[video, start + i]]) for i in range(length)
        }
        assert len(labels) == 1, "the labels change inside a segment"
        actions = [action for record in by_frame[video, start] for action in record[6]]
        verbs_per_segment.append({verb for verb, _ in actions} - {null})
        nouns_per_segment.append({i for _, positions in actions for p in positions for i in p})
    assert min(map(len, verbs_per_segment)) == 0, "no idle segment"
    assert max(map(len, verbs_per_segment)) == 2
    assert max(map(len, nouns_per_segment)) >= 2


def test_exo_splits_name_every_video_once(sample):
    train, val, test = (
        load(sample, f"splits/all_{split}.json") for split in ("train", "val", "test")
    )
    assert val == test
    videos = [record[0] for record in load(sample, "full/rec_tpv_segments_indices.p")]
    assert sorted(train + val) == sorted(set(videos))
    parts = [load(sample, f"splits/{kind}_train.json") for kind in ("1x1", "2x1")]
    assert sorted(parts[0] + parts[1]) == sorted(train)
    assert all(parts)


def test_nothing_pairs_the_views(sample):
    """Neither view names anything of the other; no two segments are made of the same draws."""
    ego = {row.video_id for split in SPLITS for row in read_list(sample, split).itertuples()}
    exo = {segment[0] for segment in load(sample, "full/rec_tpv_segments_indices.p")}
    assert not ego & exo
    assert set(load(sample, "metadata/all_acts.json")) != set(read_classes(sample, "verb").key)
    assert set(load(sample, "metadata/all_objs.json")) != set(read_classes(sample, "noun").key)
