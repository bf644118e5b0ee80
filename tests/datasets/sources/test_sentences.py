"""Clips and sentences of a list, as classes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from slowfast.datasets.sources.epic_annotations import read_segments
from slowfast.datasets.sources.sentences import SENTENCES_FILE, describe_clips, describe_sentences
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError


def _list(folder: Path, nouns: list | None = None, name: str = "list.csv") -> Path:
    rows: dict[str, list] = {
        "narration_id": ["a", "b", "c"],
        "participant_id": ["P01"] * 3,
        "video_id": ["P01_01"] * 3,
        "start_frame": [1, 11, 21],
        "stop_frame": [10, 20, 30],
        "narration": ["take cup", "put cup", "take cup"],
        "verb_class": [0, 1, 0],
        "noun_class": [2, 2, 2],
    }
    if nouns is not None:
        rows["all_noun_classes"] = nouns
    path = folder / name
    table = pd.DataFrame(rows)
    if path.suffix == ".pkl":
        table.set_index("narration_id").to_pickle(path)
    else:
        table.to_csv(path, index=False)
    return path


def _segments(path: Path) -> list[Segment]:
    return read_segments(path, epic_100=True, num_classes=(3, 4), labelled=True)


@pytest.mark.parametrize(
    ("name", "nouns", "expected"),
    [
        ("list.csv", ["[2]", "[2, 3]", "[2, 0]"], [[2], [2, 3], [2, 0]]),
        ("list.pkl", [[2], [2, 3], [2, 0]], [[2], [2, 3], [2, 0]]),
        ("list.csv", None, [[2], [2], [2]]),
    ],
)
def test_all_nouns_of_a_clip(
    tmp_path: Path, name: str, nouns: list | None, expected: list[list[int]]
) -> None:
    path = _list(tmp_path, nouns, name)
    clips = describe_clips([path], _segments(path)[::-1], 4)
    assert clips.nouns == expected[::-1]
    assert clips.verbs == [0, 1, 0]
    assert clips.texts == ["take cup", "put cup", "take cup"]


def test_every_narration_once_with_the_classes_of_its_first_clip(tmp_path: Path) -> None:
    path = _list(tmp_path, ["[2]", "[2, 3]", "[2, 0]"])
    segments = _segments(path)
    sentences = describe_sentences(None, segments, describe_clips([path], segments, 4))
    assert sentences.texts == ["take cup", "put cup"]
    assert sentences.nouns == [[2], [2, 3]]


def test_sentences_of_a_file_say_what_their_clip_says(tmp_path: Path) -> None:
    path = _list(tmp_path, ["[2]", "[2, 3]", "[2, 0]"])
    segments = _segments(path)
    clips = describe_clips([path], segments, 4)
    file = tmp_path / "sentences.csv"
    file.write_text("narration_id,narration\nc,grab the cup\nb,put cup\n")
    sentences = describe_sentences(file, segments, clips)
    assert (sentences.texts, sentences.nouns) == (["grab the cup", "put cup"], [[2, 0], [2, 3]])
    file.write_text("narration_id,narration\nx,grab the cup\nb,put cup\n")
    with pytest.raises(UserError, match=r"1 of 2 sentences.*TEST\.RETRIEVAL\.SENTENCES"):
        describe_sentences(file, segments, clips)
    file.write_text("id,narration\nx,grab the cup\n")
    with pytest.raises(UserError, match="no column narration_id"):
        describe_sentences(file, segments, clips)


def test_bad_noun_lists(tmp_path: Path) -> None:
    for cell in ("[4]", "cup", "[]"):
        path = _list(tmp_path, ["[2]", cell, "[2]"])
        with pytest.raises(UserError, match="all_noun_classes of b"):
            describe_clips([path], _segments(path), 4)


def test_the_real_lists(real: Path) -> None:
    path = real / "EPIC_100_validation.csv"
    segments = read_segments(path, epic_100=True, num_classes=(97, 300), labelled=True)
    clips = describe_clips([path], segments, 300)
    sentences = describe_sentences(real / SENTENCES_FILE, segments, clips)
    assert (len(clips), len(sentences)) == (9668, 3842)
    assert sum(len(nouns) > 1 for nouns in clips.nouns) == 1602
