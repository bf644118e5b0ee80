"""LEMMA's annotations (exo): frame records, segments, splits and vocabularies, read and joined.

The layout, below one root (`{view}` is fpv or tpv):

- `annotations/full/rec_{view}_frames.p`: a list of records, one per video, frame and person:
  (video, frame, person, flow paths, image paths, box, actions, tasks, interactions). An action is
  (verb id, [[object ids] per position]); an interaction is an id of `all_hois.json`.
- `annotations/full/rec_{view}_segments_indices.p`: a list of (video, first frame, number of
  frames).
- `annotations/splits/{video_type}_{split}.json`: a list of videos.
- `annotations/metadata/all_{acts,objs,hois}.json`: lists of words; a word's id is its position.

A video name may include a person, `video|P1`; a split that lists `video` includes all its persons.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from slowfast.datasets.types import ImageListAnnotations, Segment
from slowfast.utils.errors import UserError
from slowfast.utils.limits import PATH_BYTES
from slowfast.utils.paths import InputPath, join, local_path
from slowfast.utils.reading import is_file, reading
from slowfast.utils.text_files import read_json

logger = logging.getLogger(__name__)

_RELEASE = "use both files of one release of LEMMA"
_SPAN_FIELDS = 3
NULL_HOI = "null$"

# A hand-object interaction as text: plain replacements, in this order.
_HOI_AS_TEXT = (
    ("${s0}@", " "),
    ("${m0}@", " "),
    (":{s1}@", " with "),
    (":{m1}@", " to the "),
    (":{s2}@", " with "),
    (":{m2}@", " with "),
    ("|", " and "),
)


class _Person(NamedTuple):
    """Actions and interactions of one person in one frame."""

    name: str
    actions: Sequence[tuple[int, Sequence[Sequence[int]]]]
    hois: Sequence[int]


@dataclass
class _Video:
    """frames: frame id -> (image path, its people in the order of the records)."""

    frames: dict[int, tuple[str, list[_Person]]]

    def in_order(self) -> list[tuple[str, list[_Person]]]:
        return [self.frames[frame_id] for frame_id in sorted(self.frames)]


def read_lemma(
    root: InputPath,
    split: str,
    *,
    view: str,
    segments_view: str,
    video_type: str,
    num_classes: Sequence[int],
) -> ImageListAnnotations:
    """The segments of a split that contain an action, each once, in the file's order.

    A segment's labels are the verbs and objects of all persons in its frames. Its narration is
    the first interaction of the first active person; of person P1 if the video is `video|P1`.

    root: the folder `annotations`, or its URL.
    view, segments_view: the views whose frame records and whose segments are read.
    num_classes: verbs, nouns; the vocabularies must have as many words.

    Raises: UserError naming the file or key, and the fix.
    """
    vocabularies = [_words(join(root, f"metadata/all_{kind}.json")) for kind in ("acts", "objs")]
    for kind, words, count in zip(("acts", "objs"), vocabularies, num_classes, strict=True):
        if len(words) != count:
            raise UserError(
                f"{root}/metadata/all_{kind}.json has {len(words)} words, but EXO.NUM_CLASSES_LIST "
                f"is {list(num_classes)}; set it to {[len(v) for v in vocabularies]}"
            )
    hois = _words(join(root, "metadata/all_hois.json"))
    split_path = join(root, f"splits/{video_type}_{split}.json")
    listed = frozenset(_words(split_path, "set EXO.VIDEO_TYPE to an existing split"))
    frames_path = join(root, f"full/rec_{view}_frames.p")
    videos = _videos(frames_path, listed)
    segments_path = join(root, f"full/rec_{segments_view}_segments_indices.p")
    reader = _SegmentReader(videos, hois, num_classes, frames_path, segments_path)
    segments = reader.read(listed)
    if not segments:
        raise UserError(
            f"{segments_path} has no segment with an interaction in the videos of {split_path}; "
            "check EXO.VIDEO_TYPE and EXO.SEGMENTS_VIEW"
        )
    return ImageListAnnotations(
        segments=segments,
        class_names=(tuple(vocabularies[0]), tuple(vocabularies[1])),
        image_paths={
            name: np.array([path.encode() for path, _ in video.in_order()])
            for name, video in videos.items()
        },
    )


def clean_narration(hoi: str) -> str:
    """A hand-object interaction in words: `put${s0}@cup:{m1}@table` -> `put cup to the table`."""
    for mark, words in _HOI_AS_TEXT:
        hoi = hoi.replace(mark, words)
    return hoi


def _without_person(name: str) -> str:
    return name.partition("|")[0]


def _is_listed(name: str, listed: frozenset[str]) -> bool:
    """Whether a split that lists the videos `listed` includes the video."""
    if name in listed or _without_person(name) in listed:
        return True
    return "|" not in name and any(_without_person(other) == name for other in listed)


def _videos(path: InputPath, listed: frozenset[str]) -> dict[str, _Video]:
    """The videos of the split with their frame records."""
    videos: dict[str, _Video] = {}
    wanted: dict[str, bool] = {}
    for row, record in enumerate(_load_list(path)):
        try:
            name, frame_id, person, _, images, _, actions, _, hois = record
            if not isinstance(name, str) or not isinstance(person, (str, int)):
                raise TypeError("names are text")
            if name not in wanted:
                wanted[name] = _is_listed(name, listed)
            if not wanted[name]:
                continue
            video = videos.setdefault(name, _Video({}))
            _, people = video.frames.setdefault(int(frame_id), (_image_path(images[0]), []))
            people.append(_Person(str(person), actions, hois))
        except Exception:  # a record can be anything
            raise UserError(
                f"{path}: record {row} is not LEMMA's (video, frame, person, flow, images, box, "
                "actions, tasks, interactions); use the file as published by LEMMA"
            ) from None
    return videos


def _span(entry: Any) -> tuple[str, int, int]:
    """(video, first frame, number of frames). Raises: any error if the entry is not one."""
    if len(entry) != _SPAN_FIELDS or not isinstance(entry[0], str):
        raise ValueError("not (video, first frame, frames)")
    return entry[0], int(entry[1]), int(entry[2])


def _image_path(path: Any) -> str:
    """Check an image path; the array of all paths is as wide as the longest.

    Raises: ValueError if it is longer than any path of the system.
    """
    if not isinstance(path, str) or len(path.encode()) > PATH_BYTES:
        raise ValueError("an image path is not text, or too long")
    return path


class _SegmentReader:
    """Join of the list of segments with the frame records."""

    def __init__(
        self,
        videos: dict[str, _Video],
        hois: Sequence[str],
        num_classes: Sequence[int],
        frames_path: InputPath,
        segments_path: InputPath,
    ) -> None:
        self._videos = videos
        self._hois = hois
        self._num_classes = num_classes
        self._frames_path = frames_path
        self._path = segments_path
        self._in_order: dict[str, tuple[list[tuple[str, list[_Person]]], dict[int, int]]] = {}

    def read(self, listed: frozenset[str]) -> list[Segment]:
        """The segments of the listed videos that contain an action."""
        segments = []
        cut = 0
        for row, entry in enumerate(_load_list(self._path)):
            with reading(f"entry {row} of {self._path}", "LEMMA's segment", _RELEASE):
                name, start, length = _span(entry)
                if not _is_listed(name, listed):
                    continue
                video, person = self._resolve(name)
                frames, positions = self._frames(video)
                if start not in positions or length < 1:
                    raise UserError(
                        f"{self._path}: entry {row} is {length} frame(s) from frame {start} of "
                        f"{name}, which {self._frames_path} does not have; {_RELEASE}"
                    )
                first = positions[start]
                cut += first + length > len(frames)
                span = [people for _, people in frames[first : first + length]]
                narration = self._narration(span[0], person)
                if narration is not None:
                    last = first + len(span) - 1
                    labels = self._labels(span)
                    actor = person or span[0][0].name
                    segments.append(
                        Segment(f"{name}_{start}", video, actor, first, last, narration, labels)
                    )
        if cut:
            logger.warning(
                "%s: %d segment(s) extend past the last frame of their video and were cut there",
                self._path,
                cut,
            )
        return segments

    def _resolve(self, name: str) -> tuple[str, str]:
        """The video whose frames show the segment, and the person that it follows ("": none)."""
        if name in self._videos:
            return name, ""
        video, _, person = name.partition("|")
        if video in self._videos:
            return video, person
        raise UserError(
            f"{self._path} has segments of video {name}, but {self._frames_path} has no frames "
            "of it; set EXO.SEGMENTS_VIEW to the view of EXO.VIEW, or use both files of one release"
        )

    def _frames(self, video: str) -> tuple[list[tuple[str, list[_Person]]], dict[int, int]]:
        """The frames of a video in order, and frame id -> position."""
        if video not in self._in_order:
            ids = sorted(self._videos[video].frames)
            positions = {frame_id: position for position, frame_id in enumerate(ids)}
            self._in_order[video] = self._videos[video].in_order(), positions
        return self._in_order[video]

    def _narration(self, people: Sequence[_Person], person: str) -> str | None:
        """The first interaction of the first active person; None if nobody is active."""
        for someone in people:
            if person and someone.name != person:
                continue
            for hoi in self._checked(someone.hois, len(self._hois), "interaction"):
                if self._hois[hoi] != NULL_HOI:
                    return clean_narration(self._hois[hoi])
        return None

    def _labels(self, span: Iterable[Sequence[_Person]]) -> tuple[tuple[int, ...], ...]:
        verbs: set[int] = set()
        nouns: set[int] = set()
        seen: object = None
        for people in span:
            actions = [someone.actions for someone in people]
            if actions == seen:
                continue
            seen = actions
            for verb, positions in (action for one in actions for action in one):
                verbs.update(self._checked([verb], self._num_classes[0], "verb"))
                objects = [noun for position in positions for noun in position]
                nouns.update(self._checked(objects, self._num_classes[1], "object"))
        return tuple(sorted(verbs)), tuple(sorted(nouns))

    def _checked(self, ids: Iterable[int], count: int, kind: str) -> list[int]:
        numbers = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < count:
                raise UserError(
                    f"{self._frames_path} has {kind} {number}, but the metadata lists only "
                    f"{count}; use annotations and metadata of the same release"
                )
        return numbers


def _words(path: InputPath, fix: str = "link LEMMA's annotations there") -> list[str]:
    path = local_path(path, "EXO.PATH_TO_DATA_DIR")
    words = read_json(path, "a list of words", f"{fix}, or set EXO.PATH_TO_DATA_DIR")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"{path} is not a list of words; use the file as published by LEMMA")
    return words


def _load_list(path: InputPath) -> list[Any]:
    from slowfast.utils.safe_pickle.load import load_plain

    path = local_path(path, "EXO.PATH_TO_DATA_DIR")
    if not is_file(path, "a file of LEMMA"):
        raise UserError(
            f"{path} does not exist; link LEMMA's annotations there, or set EXO.PATH_TO_DATA_DIR, "
            "EXO.VIEW or EXO.SEGMENTS_VIEW"
        )
    content = load_plain(path)
    if not isinstance(content, list):
        raise UserError(f"{path} does not hold a list; use the file as published by LEMMA")
    return content
