"""Writes the exo half as LEMMA has it: pickled frame records and segments, metadata, splits."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path

from slowfast.lab.sample.exo_view import ExoCamera
from slowfast.lab.sample.motion import Take
from slowfast.lab.sample.plan import (
    ExoDeed,
    ExoSegment,
    Stream,
    exo_segments,
    exo_words,
    generator,
)
from slowfast.lab.sample.settings import SampleSettings
from slowfast.lab.sample.vocabulary import NULL_HOI, NULL_VERB, PLACES, TASKS
from slowfast.lab.sample.write_epic import write_jpeg

LEMMA = Path("lemma")
ANNOTATIONS = LEMMA / "annotations"
_FRAMES = "frames"  # below LEMMA: frames/<video>/00000.jpg
_GAP = 2  # frames between two segments, annotated as null

# video, frame, person, flow paths, rgb paths, box, actions, tasks, hand-object interactions.
Record = tuple[
    str, int, str, list[str], list[str], list[float],
    list[tuple[int, list[list[int]]]], list[list[int]], list[int],
]  # fmt: skip


@dataclass
class _Vocabulary:
    """Class ids are positions in these lists."""

    verbs: list[str]
    nouns: list[str]
    hois: list[str]

    @classmethod
    def of(cls, settings: SampleSettings, videos: list[list[ExoSegment]]) -> _Vocabulary:
        verbs, nouns = exo_words(settings)
        deeds = [deed for video in videos for segment in video for deed in segment.deeds]
        return cls(
            verbs=sorted([NULL_VERB, *(verb.exo for verb in verbs)]),
            nouns=sorted([*PLACES, *(noun.exo for noun in nouns)]),
            hois=[NULL_HOI, *sorted({deed.phrase for deed in deeds if deed.verb})],
        )

    def labels(
        self, deed: ExoDeed
    ) -> tuple[list[tuple[int, list[list[int]]]], list[list[int]], list[int]]:
        """Actions, tasks and interactions of one person."""
        if deed.verb is None:
            return (
                [(self.verbs.index(NULL_VERB), [])],
                [[TASKS.index("rest")]],
                [self.hois.index(NULL_HOI)],
            )
        verb = self.verbs.index(deed.verb.exo)
        positions = [[self.nouns.index(noun.exo) for noun in deed.nouns]]
        if deed.place:
            positions.append([self.nouns.index(deed.place)])
        task = TASKS.index("clean up" if deed.verb.exo in ("wash", "empty") else "make tea")
        return [(verb, positions)], [[task]], [self.hois.index(deed.phrase)]


@dataclass
class _Half:
    """The exo half while it is written: videos in `root`, annotations in memory."""

    root: Path
    settings: SampleSettings
    vocabulary: _Vocabulary
    records: list[Record] = field(default_factory=list)
    segments: list[tuple[str, int, int]] = field(default_factory=list)

    def write_video(self, name: str, number: int, segments: list[ExoSegment]) -> None:
        """Write the frames of a video; number: of the video in both splits."""
        settings = self.settings
        folder = f"{_FRAMES}/{name}"
        (self.root / folder).mkdir(parents=True)
        room = generator(settings, Stream.EXO_ROOMS, number)
        camera = ExoCamera(settings.height, settings.width, len(segments[0].deeds), room)
        start = 0
        for index, segment in enumerate(segments):
            rng = generator(settings, Stream.EXO_FRAMES, 10_000 * number + index)
            figures = camera.figures(rng)
            take = Take(segment.num_frames, _GAP, settings.exo_motion, settings.hue_jitter)
            performances = [deed.performance for deed in segment.deeds]
            self.segments.append((name, start, segment.num_frames))
            for offset, image in enumerate(camera.frames(figures, performances, take, rng)):
                frame = start + offset
                path = f"{folder}/{frame:05d}.jpg"
                write_jpeg(self.root / path, image, settings.jpeg_quality)
                acting = offset < segment.num_frames
                deeds = segment.deeds if acting else (ExoDeed(None),) * len(figures)
                for person, (figure, deed) in enumerate(zip(figures, deeds, strict=True), 1):
                    box = figure.box(settings.height, settings.width)
                    labels = self.vocabulary.labels(deed)
                    self.records.append((name, frame, f"P{person}", [], [path], box, *labels))
            start += segment.num_frames + _GAP


def write_exo(root: Path, settings: SampleSettings) -> None:
    """Frames and annotations of the exo half below `root`."""
    splits = {name: exo_segments(settings, name) for name in ("train", "validation")}
    vocabulary = _Vocabulary.of(settings, [video for videos in splits.values() for video in videos])
    half = _Half(root / LEMMA, settings, vocabulary)
    names: dict[str, list[str]] = {}
    number = 0
    for split, videos in splits.items():
        names[split] = []
        for segments in videos:
            name = f"{len(segments[0].deeds)}x1_{number:03d}"
            names[split].append(name)
            half.write_video(name, number, segments)
            number += 1
    _write_annotations(root / ANNOTATIONS, half, names)


def _write_annotations(root: Path, half: _Half, names: dict[str, list[str]]) -> None:
    for folder in ("full", "splits", "metadata"):
        (root / folder).mkdir(parents=True)
    _dump(root / "full/rec_tpv_frames.p", half.records)
    # The published loaders read the fpv file for either view.
    for view in ("tpv", "fpv"):
        _dump(root / f"full/rec_{view}_segments_indices.p", half.segments)
    metadata = {
        "acts": half.vocabulary.verbs,
        "objs": half.vocabulary.nouns,
        "tasks": list(TASKS),
        "hois": half.vocabulary.hois,
    }
    for kind, words in metadata.items():
        (root / f"metadata/all_{kind}.json").write_text(json.dumps(words, indent=1) + "\n")
    for split, source in (("train", "train"), ("val", "validation"), ("test", "validation")):
        for kind in ("all", "1x1", "2x1"):
            chosen = [name for name in names[source] if kind in ("all", name.split("_")[0])]
            (root / f"splits/{kind}_{split}.json").write_text(json.dumps(chosen) + "\n")


def _dump(path: Path, value: object) -> None:
    with path.open("wb") as file:
        pickle.dump(value, file, protocol=4)
