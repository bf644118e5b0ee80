"""Given pairs: the exo partners of every ego segment, from a column of a CSV.

Legend: n ego segments, k the largest number of partners of a segment.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.text_files import csv_columns, csv_rows

logger = logging.getLogger(__name__)

_KEY = "SUML.PAIRS.PAIRED_FILE"
# A column's name inside text around it.
_CELL = re.compile(r"\{([^{}]*)\}")


def paired_candidates(
    path: InputPath, columns: Sequence[str], ego: Sequence[Segment], exo: Sequence[Segment]
) -> np.ndarray:
    """Positions in `exo` of the partners of each ego segment: (n, k) int64, -1 padded.

    columns: of the ego id and of the exo id, or text with names of columns in braces: `{id}EGO`
        and `id` pair 005BUEGO with 005BU by the row of 005BU. Several rows of one ego id give
        several partners; an empty exo cell gives none. Rows of ego segments outside `ego` are
        skipped, so that one file can hold all splits.

    Raises: UserError for a file without the columns or with an exo id that is not in `exo`, and if
        no segment has a partner.
    """
    path = local_path(path, _KEY)
    fix = f"set {_KEY} to a CSV with the columns of SUML.PAIRS.PAIRED_COLUMNS"
    found = csv_columns(path, "a list of pairs", fix)
    patterns = _patterns(path, columns, found)
    rows = {segment.segment_id: row for row, segment in enumerate(ego)}
    positions = {segment.segment_id: position for position, segment in enumerate(exo)}
    # A dict keeps the order of the file and drops repeated pairs.
    partners: list[dict[int, None]] = [{} for _ in ego]
    for line, cells in csv_rows(path, "a list of pairs", fix):
        ego_id, exo_id = (_filled(pattern, cells) for pattern in patterns)
        if not exo_id or ego_id not in rows:
            continue
        if exo_id not in positions:
            raise UserError(
                f"{path}: line {line} pairs {ego_id} with {exo_id!r}, which is not the id of an exo"
                f" training segment; ids are like {exo[0].segment_id!r}"
            )
        partners[rows[ego_id]][positions[exo_id]] = None
    paired = sum(1 for row in partners if row)
    if not paired:
        raise UserError(
            f"{path} has no partner for any of the {len(ego)} ego segments, whose ids are like "
            f"{ego[0].segment_id!r}; check column {columns[0]}"
        )
    logger.info("%d of %d ego segments have a partner in %s", paired, len(ego), path)
    indices = np.full((len(ego), max(map(len, partners))), -1, np.int64)
    for row, given in enumerate(partners):
        indices[row, : len(given)] = list(given)
    return indices


def _patterns(path: Path, columns: Sequence[str], found: Sequence[str]) -> list[str]:
    """The columns as text with names in braces. Raises: UserError for one that is not found."""
    patterns = [column if _CELL.search(column) else f"{{{column}}}" for column in columns]
    named = [name for pattern in patterns for name in _CELL.findall(pattern)]
    if missing := [name for name in named if name not in found]:
        raise UserError(
            f"{path} has no column {missing[0]}, which SUML.PAIRS.PAIRED_COLUMNS {list(columns)} "
            f"names; its columns are {', '.join(found)}"
        )
    return patterns


def _filled(pattern: str, cells: Mapping[str, str]) -> str:
    """The pattern with cells in place of the names of columns; "" if one of them is empty."""
    named = {name: cells[name].strip() for name in _CELL.findall(pattern)}
    return _CELL.sub(lambda name: named[name[1]], pattern).strip() if all(named.values()) else ""
