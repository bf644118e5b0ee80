"""Reader of the published pseudo-pair files: a JSON file and an optional text file.

JSON: `{"<ego row>": {"same": [c, ...], "sub": [...], "sub_verb": [...], "sub_noun": [...]}}`; a
candidate c is `{"<entry>": [verbs, nouns, image paths, narration]}`. An entry is a position in a
list that contains every exo segment three times. The image paths are the author's absolute paths
of a clip centred on the segment's first frame.

Text: one line `row,tier code,...` per ego row; the third field from the end is the number of the
candidate within its tier. Code 0: none.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.datasets.pairing.pairs import Tier
from slowfast.datasets.types import ImageListAnnotations
from slowfast.utils.errors import UserError
from slowfast.utils.limits import PATH_BYTES
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.reading import reading, require_file

# Names of the tiers in the file, in search order.
_TIERS = {"same": Tier.SAME, "sub": Tier.SUBSET, "sub_verb": Tier.VERB, "sub_noun": Tier.NOUN}
_TIER_NAMES = {tier: name for name, tier in _TIERS.items()}
# Number of times that every segment occurs in the author's list.
_REPEATS = 3
_ROW_DIGITS = 9
_READ_CHARACTERS = 1 << 20
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_WHAT = "a file of pseudo-pairs"
_REMEDY = "use the file as published by SUM-L"


def import_pairs(
    path: InputPath, num_ego: int, exo: ImageListAnnotations, text_path: InputPath | None = None
) -> np.ndarray:
    """Distinct exo segments per ego segment: (num_ego, k) int64, -1 padded.

    The candidates of a row are those of its first non-empty tier or, if `text_path` is given, the
    one named in that file. Rows without candidates are all padding.

    Raises: UserError for a malformed file, or one that belongs to other data.
    """
    path = local_path(path, "--import-json")
    segments = _SegmentFinder(exo, path)
    chosen = read_choices(local_path(text_path, "--import-text")) if text_path else None
    rows: list[list[int]] = [[] for _ in range(num_ego)]
    for key, tiers in read_members(path):
        if not key.isdecimal() or len(key) > _ROW_DIGITS or not isinstance(tiers, dict):
            raise UserError(f"{path}: {key!r} is not a row of a pair file; {_REMEDY}")
        row = int(key)
        if row >= num_ego:
            raise UserError(
                f"{path} has a row {row}, but the ego list has {num_ego} segments; set "
                "TRAIN.TRAIN_DATA_LIST to the list that the pairs were mined for"
            )
        candidates = _candidates(tiers, row, None if chosen is None else chosen.get(row), path)
        rows[row] = list(dict.fromkeys(segments.find(one, row) for one in candidates))
    width = max(1, *map(len, rows)) if rows else 1
    return np.array([row + [-1] * (width - len(row)) for row in rows], np.int64).reshape(-1, width)


def read_choices(path: Path) -> dict[int, tuple[Tier, int]]:
    """The text file: row -> (tier, candidate within the tier); (NONE, -1) for none."""
    choices = {}
    for number, line in enumerate(_open_text(path).splitlines(), 1):
        fields = line.split(",")
        try:
            row, tier = int(fields[0]), Tier(int(fields[1]))
            choices[row] = (tier, int(fields[-3]) if tier else -1)
        except Exception:  # a line can be anything
            raise UserError(
                f"{path}: line {number} is not a line of a pair file; {_REMEDY}"
            ) from None
    return choices


def read_members(path: Path) -> Iterator[tuple[str, Any]]:
    """Stream the (key, value) pairs of a JSON object; only one value is in memory at a time.

    Raises: UserError for a missing file, or one that is not a JSON object.
    """
    require_file(path, _WHAT, _REMEDY)
    with reading(path, _WHAT, _REMEDY), path.open(encoding="utf-8-sig") as file:
        text, at, opened = "", 0, False
        while True:
            try:
                member, at = _next_member(text, at, opened)
            # The member is incomplete: read more, or fail at the end of the file.
            except (ValueError, IndexError):
                more = file.read(max(_READ_CHARACTERS, len(text)))
                if not more:
                    raise UserError(
                        f"{path} is not a complete JSON object; copy it again"
                    ) from None
                text, at = text[at:] + more, 0
                continue
            if member is None:
                return
            opened = True
            yield member


def _next_member(text: str, at: int, opened: bool) -> tuple[tuple[str, Any] | None, int]:
    """Parse the object member at text[at:], None at the object's end; and the position after it.

    opened: the opening brace, and possibly members, were already read.

    Raises: ValueError, IndexError if the text holds no complete member.
    """
    at = _skip_space(text, at)
    if opened and text[at] == "}":
        return None, at + 1
    at = _expect(text, at, "," if opened else "{")
    if not opened and text[at] == "}":
        return None, at + 1
    key, at = _DECODER.raw_decode(text, at)
    at = _expect(text, _skip_space(text, at), ":")
    value, at = _DECODER.raw_decode(text, at)
    # More digits may follow the end of the text: only a delimiter ends a number.
    at = _skip_space(text, at)
    if text[at] not in ",}" or not isinstance(key, str):
        raise ValueError(text[at])
    return (key, value), at


def _expect(text: str, at: int, mark: str) -> int:
    """The position after a mark and spaces. Raises: ValueError, IndexError without the mark."""
    if text[at] != mark:
        raise ValueError(text[at])
    return _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _candidates(
    tiers: Mapping[str, Any], row: int, choice: tuple[Tier, int] | None, path: Path
) -> Sequence[Any]:
    """The candidates of a row that training can draw."""
    if choice is None:
        return next((tiers[name] for name in _TIERS if tiers.get(name)), [])
    tier, number = choice
    if tier == Tier.NONE:
        return []
    listed = tiers.get(_TIER_NAMES[tier], [])
    if not 0 <= number < len(listed):
        raise UserError(
            f"{path}: row {row} has {len(listed)} candidates in its tier {_TIER_NAMES[tier]}, the "
            f"text file names number {number}; use both files of one release"
        )
    return [listed[number]]


class _SegmentFinder:
    """Look-up of the exo segment that a candidate refers to."""

    def __init__(self, exo: ImageListAnnotations, path: Path) -> None:
        self._exo = exo
        self._path = path
        self._by_first_image: dict[str, list[int]] = defaultdict(list)
        self._images = {
            video: {image.decode(): position for position, image in enumerate(images)}
            for video, images in exo.image_paths.items()
        }
        self._video_of = {
            image: video for video, images in self._images.items() for image in images
        }
        for number, segment in enumerate(exo.segments):
            image = exo.image_paths[segment.video_id][segment.start_frame].decode()
            self._by_first_image[image].append(number)

    def find(self, candidate: Any, row: int) -> int:
        """The segment whose first frame is the middle of the candidate's clip.

        If several segments begin with that frame, or the clip is centred elsewhere, the
        candidate's number decides among the segments that agree with its images.
        """
        try:
            ((entry, (_, _, images, _)),) = candidate.items()
            number = int(entry) // _REPEATS
            middle = self._known(str(images[len(images) // 2][0]))
        except Exception:  # a candidate can be anything
            raise UserError(
                f"{self._path}: row {row} has a candidate that is not "
                f"{{entry: [verbs, nouns, images, narration]}}; {_REMEDY}"
            ) from None
        begin = self._by_first_image.get(middle, [])
        if begin:
            return number if number in begin else begin[0]
        around = self._around(middle)
        if around:
            return number if number in around else around[0]
        raise UserError(
            f"{self._path}: row {row} has image {str(images[len(images) // 2][0])[-200:]}, which "
            "no exo segment shows; set EXO.VIDEO_TYPE, EXO.VIEW and EXO.SEGMENTS_VIEW to the data "
            "that the pairs were mined from"
        )

    def _known(self, image: str) -> str:
        """The path of an image in the annotations, which is the end of the author's path."""
        parts = image[-PATH_BYTES:].replace("\\", "/").split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((end for end in ends if end in self._video_of), "")

    def _around(self, image: str) -> list[int]:
        """The segments that show an image."""
        video = self._video_of.get(image)
        if video is None:
            return []
        position = self._images[video][image]
        return [
            number
            for number, segment in enumerate(self._exo.segments)
            if segment.video_id == video and segment.start_frame <= position <= segment.stop_frame
        ]


def _open_text(path: Path) -> str:
    require_file(path, _WHAT, _REMEDY)
    with reading(path, _WHAT, _REMEDY):
        return path.read_text(encoding="utf-8-sig")
