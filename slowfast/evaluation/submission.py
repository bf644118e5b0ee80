"""Writer and checker of the EPIC-KITCHENS-100 recognition challenge file.

The file is a zip with one deflated member `test.json`: version, challenge, the three declared
supervision levels (sls) and `results`: narration id -> {"verb": {"0": score, ...}, "noun": {...}}.
The server forms the actions.
"""

from __future__ import annotations

import json
import math
import reprlib
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from slowfast.evaluation.predictions import Predictions, for_epic
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically, writing
from slowfast.utils.limits import Budget, allowed_bytes
from slowfast.utils.reading import reading, require_file

VERSION = "0.2"
CHALLENGE = "action_recognition"
MEMBER = "test.json"
_WHAT, _FIX = "a challenge zip", "write it again"
NUM_VERBS, NUM_NOUNS = 97, 300
COMPRESSION_LEVEL = 5

# Supervision levels that a method can declare, from level 0 up.
SLS_LEVELS: Mapping[str, tuple[str, ...]] = {
    "sls_pt": (
        "no pre-training",
        "public image data",
        "public image and video data",
        "self-supervised on public data",
        "self-supervised on public data and EPIC-KITCHENS",
        "private data",
    ),
    "sls_tl": (
        "no temporal labels",
        "video-level labels",
        "narration timestamps",
        "start and stop times",
        "start and stop times, spatial labels",
        "start and stop times, spatial labels, prior knowledge",
    ),
    "sls_td": (
        "zero-shot",
        "few-shot (at most 5)",
        "at most 25 % of the training set",
        "training set",
        "training and validation set",
        "training and validation set and other data",
    ),
}


@dataclass(frozen=True)
class SupervisionLevels:
    """The declared levels, 0 to 5: pre-training, training labels, training data."""

    sls_pt: int
    sls_tl: int
    sls_td: int

    def __post_init__(self) -> None:
        for name, level in asdict(self).items():
            check_level(name, level)

    def described(self) -> list[str]:
        return [
            f"{name} {level}: {SLS_LEVELS[name][level]}" for name, level in asdict(self).items()
        ]


def check_level(name: str, level: Any) -> None:
    """Check the levels. Raises: UserError if one is not a whole number from 0 to its maximum."""
    if type(level) is not int or not 0 <= level < len(SLS_LEVELS[name]):
        raise UserError(
            f"{name} {reprlib.repr(level)} is not a whole number from 0 to "
            f"{len(SLS_LEVELS[name]) - 1}"
        )


def write_submission(
    path: Path | str, predictions: Predictions, levels: SupervisionLevels, force: bool = False
) -> Path:
    """Write the challenge zip. Scores keep full float32 precision.

    Raises: UserError if heads or class counts are not the challenge's, a score is infinite, or
    the file exists and `force` is not set.
    """
    path = Path(path)
    if path.suffix != ".zip":
        raise UserError(f"{path}: a submission is a .zip file")
    if path.exists() and not force:
        raise UserError(f"{path} exists; give another name or --force")
    predictions = for_epic(predictions, "the predictions file")
    shape = tuple(head.num_classes for head in predictions.heads)
    if shape != (NUM_VERBS, NUM_NOUNS):
        raise UserError(
            f"predictions have {shape[0]} verb and {shape[1]} noun classes; the challenge has "
            f"{NUM_VERBS} and {NUM_NOUNS}"
        )
    for scores in predictions.scores.values():
        if not np.isfinite(scores).all():
            raise UserError("predictions hold infinite scores; bound log-probabilities at -30")

    def write(file: IO[bytes]) -> None:
        archive = zipfile.ZipFile(
            file, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL
        )
        with archive, archive.open(MEMBER, "w", force_zip64=True) as member:
            for piece in _json_pieces(predictions, levels):
                member.write(piece.encode())

    with writing(path):
        write_atomically(path, write)
    return path


def check_submission(path: Path | str, narration_ids: Sequence[str]) -> SupervisionLevels:
    """Read a challenge zip and check it against the rules; return its declared content.

    narration_ids: the segments of the test list; each must occur exactly once.
    Raises: UserError for the first broken rule.
    """
    path = Path(path)
    content = _read(path)
    try:
        return _check_content(content, narration_ids)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _json_pieces(predictions: Predictions, levels: SupervisionLevels) -> Iterator[str]:
    head = {"version": VERSION, "challenge": CHALLENGE, **asdict(levels)}
    yield json.dumps(head)[:-1] + ', "results": {'
    for row, name in enumerate(predictions.narration_id):
        scores = {head: _score_map(rows[row]) for head, rows in predictions.scores.items()}
        yield (", " if row else "") + f"{json.dumps(str(name))}: {json.dumps(scores)}"
    yield "}}"


def _score_map(scores: NDArray) -> dict[str, float]:
    """Class id -> score, as the shortest decimal that restores the float32."""
    shortest = np.asarray(scores, dtype=np.float32).astype(np.str_).astype(np.float64)
    return {str(i): score for i, score in enumerate(shortest.tolist())}


def _read(path: Path) -> Any:
    require_file(path, _WHAT, _FIX)
    with reading(path, _WHAT, _FIX), zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if members != [MEMBER]:
            raise UserError(f"{path}: members {members[:5]}, expected only {MEMBER}")
        member = archive.getinfo(MEMBER)
        if member.compress_type != zipfile.ZIP_DEFLATED:
            raise UserError(f"{path}: {MEMBER} is not deflated")
        Budget(allowed_bytes(path.stat().st_size)).take(member.file_size)
        try:
            return json.loads(archive.read(member), object_pairs_hook=_unique_keys)
        except _RepeatedKeyError as error:
            raise UserError(f"{path}: {error} occurs twice") from None


class _RepeatedKeyError(ValueError):
    """A key that occurs twice in a JSON object."""


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _RepeatedKeyError(counts.most_common(1)[0][0])
    return content


def _check_content(content: Any, narration_ids: Sequence[str]) -> SupervisionLevels:
    expected = ["version", "challenge", *SLS_LEVELS, "results"]
    if not isinstance(content, dict) or sorted(content) != sorted(expected):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise UserError(f"{MEMBER} has {reprlib.repr(found)}, expected the keys {expected}")
    for key, value in (("version", VERSION), ("challenge", CHALLENGE)):
        if content[key] != value:
            raise UserError(f"{key} is {reprlib.repr(content[key])}, expected {value!r}")
    levels = SupervisionLevels(*(content[name] for name in SLS_LEVELS))
    results = content["results"]
    if not isinstance(results, dict):
        raise UserError("results is not an object of segments")
    missing = [name for name in narration_ids if name not in results]
    unknown = sorted(results.keys() - set(narration_ids))
    if missing or unknown:
        raise UserError(
            f"{len(missing)} segments of the list are missing {missing[:3]}, "
            f"{len(unknown)} are not in the list {unknown[:3]}"
        )
    for name, scores in results.items():
        _check_segment(name, scores)
    return levels


def _check_segment(name: str, scores: Any) -> None:
    if not isinstance(scores, dict) or sorted(scores) != ["noun", "verb"]:
        raise UserError(f"segment {name} must have exactly the keys verb and noun")
    for kind, count in (("verb", NUM_VERBS), ("noun", NUM_NOUNS)):
        values = scores[kind]
        if not isinstance(values, dict) or values.keys() != _class_keys(count):
            raise UserError(f"segment {name}: {kind} must have the keys 0 to {count - 1}")
        if not all(type(v) in (int, float) and -math.inf < v < math.inf for v in values.values()):
            raise UserError(f"segment {name}: {kind} has a score that is not a finite number")


@cache
def _class_keys(count: int) -> set[str]:
    return {str(i) for i in range(count)}
