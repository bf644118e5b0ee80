"""Writes the ego half as EPIC-KITCHENS-100 has it: frame lists, class tables, frame folders.

Videos named P01_101 belong to the extension (50 frames per second), P01_01 to EPIC-KITCHENS-55
(60); the latter are only in the EPIC-55 folders, as after a real download.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from slowfast.lab.sample.ego_view import EgoCamera
from slowfast.lab.sample.motion import Take
from slowfast.lab.sample.plan import EgoSegment, Stream, ego_segments, ego_words, generator
from slowfast.lab.sample.settings import SampleSettings
from slowfast.lab.sample.vocabulary import Word

ANNOTATIONS = Path("epic-100/annotations")
EPIC100_FRAMES = Path("epic-100/dataset")
EPIC55_TRAIN_FRAMES = Path("epic-55/train_rgb_frames")
EPIC55_TEST_FRAMES = Path("epic-55/test_rgb_frames")
_TRAIN_PARTICIPANTS = 6
_UNSEEN_PARTICIPANT = "P07"
_GAP = 2  # frames between two segments
_INTEGERS = ("start_frame", "stop_frame", "verb_class", "noun_class")


@dataclass(frozen=True)
class _Video:
    """frames_root: below the sample's folder. fps: rule of the frame numbers."""

    participant: str
    name: str
    frames_root: Path
    fps: int


def _train_video(index: int) -> _Video:
    """Every other video is one of EPIC-55."""
    participant = f"P{index // 2 % _TRAIN_PARTICIPANTS + 1:02d}"
    number = index // (2 * _TRAIN_PARTICIPANTS) + 1
    if index % 2 == 0:
        return _Video(participant, f"{participant}_{100 + number}", EPIC100_FRAMES, 50)
    return _Video(participant, f"{participant}_{number:02d}", EPIC55_TRAIN_FRAMES, 60)


def _validation_video(index: int) -> _Video:
    """All are videos of EPIC-55, most of them only in its test folder; P07 is in no other split."""
    people = _TRAIN_PARTICIPANTS + 1
    participant = f"P{(index + 1) % people + 1:02d}"
    name = f"{participant}_{11 + index // people}"
    root = EPIC100_FRAMES if index % 3 == 2 else EPIC55_TEST_FRAMES
    return _Video(participant, name, root, 60)


def write_ego(root: Path, settings: SampleSettings) -> None:
    """Frames, frame lists and class tables of the ego half below `root`."""
    (root / ANNOTATIONS).mkdir(parents=True)
    for split in ("train", "validation"):
        table = _table(list(_write_split(root, split, settings)))
        stem = root / ANNOTATIONS / f"EPIC_100_{split}"
        table.to_csv(stem.with_suffix(".csv"))
        table.to_pickle(stem.with_suffix(".pkl"), protocol=4)
    for kind, words in zip(("verb", "noun"), ego_words(settings), strict=True):
        _class_table(words).to_csv(root / ANNOTATIONS / f"EPIC_100_{kind}_classes.csv", index=False)
    unseen = root / ANNOTATIONS / "EPIC_100_unseen_participant_ids_validation.csv"
    unseen.write_text(f"participant_id\n{_UNSEEN_PARTICIPANT}\n")


def _write_split(root: Path, split: str, settings: SampleSettings) -> Iterator[dict[str, object]]:
    """Writes the frames of a split; yields the rows of its frame list."""
    train = split == "train"
    segments = ego_segments(settings, split)
    streams = (
        (Stream.EGO_TRAIN_ROOMS, Stream.EGO_TRAIN_FRAMES)
        if train
        else (Stream.EGO_VALIDATION_ROOMS, Stream.EGO_VALIDATION_FRAMES)
    )
    for first in range(0, len(segments), settings.segments_per_video):
        index = first // settings.segments_per_video
        video = _train_video(index) if train else _validation_video(index)
        part = segments[first : first + settings.segments_per_video]
        yield from _write_video(root, video, part, first, streams, settings)


def _write_video(
    root: Path,
    video: _Video,
    segments: Sequence[EgoSegment],
    first: int,
    streams: tuple[Stream, Stream],
    settings: SampleSettings,
) -> Iterator[dict[str, object]]:
    """first: number of the first segment in its split. streams: of the room, of its segments."""
    folder = root / video.frames_root / video.participant / video.name
    folder.mkdir(parents=True)
    room = generator(settings, streams[0], first)
    camera = EgoCamera(settings.height, settings.width, settings.shake, room)
    start = 1
    for number, segment in enumerate(segments):
        frames = camera.frames(
            segment.combination.verb.name,
            segment.combination.noun.name,
            segment.distractors,
            Take(segment.num_frames, _GAP, settings.ego_motion, settings.hue_jitter),
            generator(settings, streams[1], first + number),
        )
        for offset, frame in enumerate(frames):
            write_jpeg(folder / f"frame_{start + offset:010d}.jpg", frame, settings.jpeg_quality)
        yield _row(video, number, segment, start, settings)
        start += segment.num_frames + _GAP


def write_jpeg(path: Path, frame: np.ndarray, quality: int) -> None:
    """Write a frame (H, W, 3) uint8 BGR."""
    if not cv2.imwrite(str(path), frame, [cv2.IMWRITE_JPEG_QUALITY, quality]):
        raise OSError(f"cannot write {path}")


def _stamp(frame: int, fps: int, digits: int = 2) -> str:
    """The earliest time HH:mm:ss.SS whose frame number, floor(seconds * fps), is `frame`."""
    centiseconds = -(-frame * 100 // fps)
    seconds, rest = divmod(centiseconds, 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{rest * 10 ** (digits - 2):0{digits}d}"


def _row(
    video: _Video, number: int, segment: EgoSegment, start: int, settings: SampleSettings
) -> dict[str, object]:
    """One row of the frame list; both frame numbers are inclusive."""
    verbs, nouns = ego_words(settings)
    stop = start + segment.num_frames - 1
    mentioned = [segment.combination.noun, *([segment.neighbour] if segment.neighbour else [])]
    names = [segment.noun_word, *(noun.ego[0] for noun in mentioned[1:])]
    return {
        "narration_id": f"{video.name}_{number}",
        "participant_id": video.participant,
        "video_id": video.name,
        # Some narrations have no time, as in the real lists.
        "narration_timestamp": math.nan if number % 7 == 6 else _stamp(start, video.fps, digits=3),
        "start_timestamp": _stamp(start, video.fps),
        "stop_timestamp": _stamp(stop, video.fps),
        "start_frame": start,
        "stop_frame": stop,
        "narration": segment.narration,
        "verb": segment.verb_word,
        "verb_class": verbs.index(segment.combination.verb),
        "noun": segment.noun_word,
        "noun_class": nouns.index(segment.combination.noun),
        "all_nouns": names,
        "all_noun_classes": [nouns.index(noun) for noun in mentioned],
    }


def _table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Frame list as the published pickles hold it: int64 and object columns, indexed by id."""
    index = pd.Index([row["narration_id"] for row in rows], dtype=object, name="narration_id")
    columns = {
        name: pd.Series(
            [row[name] for row in rows], index, dtype="int64" if name in _INTEGERS else object
        )
        for name in rows[0]
        if name != "narration_id"
    }
    table = pd.DataFrame(columns)
    table.columns = table.columns.astype(object)
    return table


def _class_table(words: Sequence[Word]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": range(len(words)),
            "key": [word.ego[0] for word in words],
            "instances": [list(dict.fromkeys(word.ego + word.instances)) for word in words],
            "category": [word.category for word in words],
        }
    )
