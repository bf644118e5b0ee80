"""Writes the exo half as LEMMA has it: pickled frame records and segments, metadata, splits."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path

from slowfast.lab.sample.exo_view import ExoCamera, Figure
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
class _Annotations:
    records: list[Record] = field(default_factory=list)
    segments: list[tuple[str, int, int]] = field(default_factory=list)


def write_exo(root: Path, settings: SampleSettings) -> None:
    """Frames and annotations of the exo half below `root`."""
    splits = {name: exo_segments(settings, name) for name in ("train", "validation")}
    vocabulary = _Vocabulary.of(settings, [video for videos in splits.values() for video in videos])
    annotations = _Annotations()
    names: dict[str, list[str]] = {}
    number = 0
    for split, videos in splits.items():
        names[split] = []
        for segments in videos:
            name = f"{len(segments[0].deeds)}x1_{number:03d}"
            names[split].append(name)
            _write_video(root / LEMMA, name, number, segments, vocabulary, annotations, settings)
            number += 1
    _write_annotations(root / ANNOTATIONS, vocabulary, annotations, names)


def _write_video(
    root: Path,
    name: str,
    number: int,
    segments: list[ExoSegment],
    vocabulary: _Vocabulary,
    annotations: _Annotations,
    settings: SampleSettings,
) -> None:
    (root / _FRAMES / name).mkdir(parents=True)
    camera = ExoCamera(
        settings.height,
        settings.width,
        len(segments[0].deeds),
        generator(settings, Stream.EXO_ROOMS, number),
    )
    start = 0
    for index, segment in enumerate(segments):
        rng = generator(settings, Stream.EXO_FRAMES, 10_000 * number + index)
        figures = camera.figures(rng)
        frames = camera.frames(
            figures,
            [deed.performance for deed in segment.deeds],
            segment.num_frames,
            _GAP,
            settings.exo_motion,
            settings.hue_jitter,
            rng,
        )
        annotations.segments.append((name, start, segment.num_frames))
        for offset, frame in enumerate(frames):
            path = f"{_FRAMES}/{name}/{start + offset:05d}.jpg"
            write_jpeg(root / path, frame, settings.jpeg_quality)
            deeds = segment.deeds
            if offset >= segment.num_frames:
                deeds = (ExoDeed(None),) * len(deeds)
            annotations.records += [
                _record(name, start + offset, person, path, figure, deed, vocabulary, settings)
                for person, (figure, deed) in enumerate(zip(figures, deeds, strict=True))
            ]
        start += segment.num_frames + _GAP


def _record(
    video: str,
    frame: int,
    person: int,
    path: str,
    figure: Figure,
    deed: ExoDeed,
    vocabulary: _Vocabulary,
    settings: SampleSettings,
) -> Record:
    actions, tasks, hois = vocabulary.labels(deed)
    box = figure.box(settings.height, settings.width)
    return (video, frame, f"P{person + 1}", [], [path], box, actions, tasks, hois)


def _write_annotations(
    root: Path, vocabulary: _Vocabulary, annotations: _Annotations, names: dict[str, list[str]]
) -> None:
    for folder in ("full", "splits", "metadata"):
        (root / folder).mkdir(parents=True)
    _dump(root / "full/rec_tpv_frames.p", annotations.records)
    # The published loaders read the fpv file for either view.
    for view in ("tpv", "fpv"):
        _dump(root / f"full/rec_{view}_segments_indices.p", annotations.segments)
    metadata = {
        "acts": vocabulary.verbs,
        "objs": vocabulary.nouns,
        "tasks": list(TASKS),
        "hois": vocabulary.hois,
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
