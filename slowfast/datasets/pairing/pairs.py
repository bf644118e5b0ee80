"""Table of pseudo-pairs: the exo segments that each ego segment may be joined with.

One `.npz` file without pickles. It is valid for one ego list, one exo list and one set of mining
settings, and is refused for any other.

Legend: n ego segments, k candidates per segment.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.datasets.types import Segment
from slowfast.utils.arrays import ArrayFile, read_arrays, write_arrays
from slowfast.utils.digests import array_digest, value_digest
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.reading import reading

logger = logging.getLogger(__name__)

VERSION = 2
# The value of the setting `mining` in a table that was mined elsewhere.
IMPORTED = "published"

_ARRAYS = {"indices": np.int32, "similarity": np.float32, "tier": np.uint8}
# Values of settings that a table does not state.
_ABSENT = {"index": "exact"}
_COSINE_LIMIT = 1.01
_REMEDY = "run tools/mine_pairs.py with this config"


class Tier(enum.IntEnum):
    """Label agreement of a pair; the published codes.

    SAME: both have exactly one verb and one noun, and they are the same. SUBSET: verb and noun of
    the ego segment are among those of the exo segment. VERB, NOUN: only the verb or the noun is.
    NONE: neither, or unknown.
    """

    NONE = 0
    SUBSET = 1
    SAME = 2
    VERB = 3
    NOUN = 4


@dataclass(frozen=True)
class PairTable:
    """Candidates of every ego segment.

    indices: (n, k) int32, positions in the exo list, -1 after the last candidate of a row.
        With mining `factors`, k is 2 top_k: the candidates by verb, then those by noun.
    similarity: (n, k) float32, cosine of the two narrations; 0 if there is no candidate.
    tier: (n, k) uint8, Tier of each pair.
    settings: how it was mined: mining, top_k, encoder, label_map; index, unless it was exact.
    ego_hash, exo_hash: of the ids and narrations of both lists.
    exo_count: length of the exo list.
    """

    indices: np.ndarray
    similarity: np.ndarray
    tier: np.ndarray
    settings: Mapping[str, str | int]
    ego_hash: str
    exo_hash: str
    exo_count: int

    def __post_init__(self) -> None:
        if type(self.exo_count) is not int or not isinstance(self.settings, Mapping):
            raise ValueError("exo_count is not a number, or settings are not a mapping")
        for name, dtype in _ARRAYS.items():
            array = getattr(self, name)
            if array.ndim != 2 or array.shape != self.indices.shape or array.dtype != dtype:
                raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if self.indices.size and not (-1 <= self.indices.min() <= self.indices.max()):
            raise ValueError("negative positions")
        if self.indices.size and self.indices.max() >= self.exo_count:
            raise ValueError(f"positions beyond the {self.exo_count} exo segments")
        # Cosines exceed 1 by rounding alone.
        wrong = ~(np.abs(self.similarity) <= _COSINE_LIMIT).all(axis=1)
        if wrong.any():
            raise ValueError(f"row {int(wrong.argmax())} has a similarity that is not a cosine")
        if self.tier.size and self.tier.max() > max(Tier):
            raise ValueError(f"tier {self.tier.max()}")

    @property
    def ego_count(self) -> int:
        return len(self.indices)

    @property
    def by_factor(self) -> tuple[PairTable, PairTable]:
        """The candidates by verb and those by noun, of a table mined with `factors`."""
        half = self.indices.shape[1] // 2
        verb, noun = (
            replace(self, **{name: getattr(self, name)[:, columns] for name in _ARRAYS})
            for columns in (slice(None, half), slice(half, None))
        )
        return verb, noun

    def restricted(self, ego: np.ndarray, exo: np.ndarray) -> PairTable:
        """The candidates among some of the segments, which get new numbers.

        ego, exo: ascending positions of the segments that are kept. A row may lose all of its
        candidates.
        """
        if self.settings.get("mining") == "factors":
            halves = [half._restricted(ego, exo) for half in self.by_factor]
            arrays: dict[str, Any] = {
                name: np.concatenate([getattr(half, name) for half in halves], axis=1)
                for name in _ARRAYS
            }
            return replace(self, **arrays, exo_count=len(exo))
        return self._restricted(ego, exo)

    def _restricted(self, ego: np.ndarray, exo: np.ndarray) -> PairTable:
        number = np.full(self.exo_count + 1, -1, np.int32)
        number[exo] = np.arange(len(exo), dtype=np.int32)
        # The last entry stands for position -1, no candidate.
        arrays: dict[str, Any] = {"indices": number[self.indices[ego]]}
        lost = arrays["indices"] < 0
        order = np.argsort(lost, axis=1, kind="stable")
        arrays |= {name: getattr(self, name)[ego] for name in ("similarity", "tier")}
        for name in ("similarity", "tier"):
            arrays[name] = np.where(lost, 0, arrays[name]).astype(_ARRAYS[name])
        ordered: dict[str, Any] = {
            name: np.take_along_axis(array, order, axis=1) for name, array in arrays.items()
        }
        return replace(self, **ordered, exo_count=len(exo))

    def has_candidate(self, row: int) -> bool:
        return bool((self.indices[row] >= 0).any())

    def draw(self, row: int, rng: np.random.Generator) -> int:
        """Draw one candidate of a row uniformly; for an empty row, any exo segment."""
        candidates = self.indices[row]
        candidates = candidates[candidates >= 0]
        if len(candidates):
            return int(rng.choice(candidates))
        return int(rng.integers(self.exo_count))

    @property
    def digest(self) -> str:
        """Digest of the candidates and of how they were mined."""
        arrays = array_digest(*(getattr(self, name) for name in _ARRAYS))
        return value_digest([arrays, sorted(self.settings.items()), self.exo_count])

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all."""
        header = {
            "version": VERSION,
            "settings": dict(self.settings),
            "ego_hash": self.ego_hash,
            "exo_hash": self.exo_hash,
            "exo_count": self.exo_count,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_arrays(path, header, arrays, compressed=True)

    @classmethod
    def load(cls, path: InputPath) -> PairTable:
        """Read a table. Raises: UserError for a missing, unreadable or outdated file."""
        path = local_path(path, "SUML.PAIRS.FILE")
        with reading(path, "a pair table"):
            exists = path.exists()
        if not exists:
            raise UserError(f"pair table {path} does not exist; {_REMEDY}, or set SUML.PAIRS.FILE")
        table, is_sealed = read_arrays(path, "a pair table", _REMEDY, cls._taken)
        if not is_sealed:
            logger.info("pair table %s has no digest; damage to it cannot be detected", path)
        return table

    @classmethod
    def _taken(cls, file: ArrayFile) -> tuple[PairTable, bool]:
        """(the table, whether it has a digest), which version 1 lacks."""
        header = dict(file.header)
        version = header.pop("version", None)
        if version not in (1, VERSION) or file.is_sealed != (version == VERSION):
            raise ValueError(f"of version {version}, but this program reads {VERSION}")
        arrays: dict[str, Any] = {name: file[name] for name in _ARRAYS}
        return cls(**arrays, **header), file.is_sealed

    def check(
        self,
        path: InputPath,
        ego: Sequence[Segment],
        exo: Sequence[Segment],
        settings: Mapping[str, str | int],
    ) -> None:
        """Compare the table, read from `path`, with the data sets and the config.

        Raises: UserError naming what differs.
        """
        for view, segments, count, digest in (
            ("ego", ego, self.ego_count, self.ego_hash),
            ("exo", exo, self.exo_count, self.exo_hash),
        ):
            if len(segments) != count:
                raise UserError(
                    f"pair table {path} is for {count} {view} segments, but the data set has "
                    f"{len(segments)}; {_REMEDY}"
                )
            if narration_hash(segments) != digest:
                raise UserError(
                    f"pair table {path} is for other {view} segments: their ids or narrations "
                    f"differ; {_REMEDY}"
                )
        if self.settings.get("mining") == IMPORTED:
            logger.info("pair table %s was imported; SUML.PAIRS.MINING has no effect", path)
            return
        for name in dict.fromkeys((*settings, *self.settings)):
            absent = _ABSENT.get(name)
            found, wanted = self.settings.get(name, absent), settings.get(name, absent)
            if found != wanted:
                raise UserError(
                    f"pair table {path} was mined with {name} {found!r}, but the config "
                    f"has {wanted!r}; set SUML.PAIRS.FILE to another file and {_REMEDY}"
                )


def narration_hash(segments: Sequence[Segment]) -> str:
    """Hash of the ids and narrations of a list, in its order."""
    rows = [[segment.segment_id, segment.narration] for segment in segments]
    return value_digest(rows)
