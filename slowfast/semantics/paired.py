"""Given pairs: the exo partners of every ego segment, from a column of a CSV.

Legend: n ego segments, k the largest number of partners of one of them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, local_path
from slowfast.utils.text_files import csv_columns, csv_rows

logger = logging.getLogger(__name__)

_KEY = "SUML.PAIRS.PAIRED_FILE"


def paired_candidates(
    path: InputPath, columns: Sequence[str], ego: Sequence[Segment], exo: Sequence[Segment]
) -> np.ndarray:
    """Positions in `exo` of the partners of each ego segment: (n, k) int64, -1 padded.

    columns: of the ego id and of the exo id. Several rows of one ego id give several partners; an
    empty exo id gives none. Rows of ego segments outside `ego` are skipped, so that one file can
    hold all splits.

    Raises: UserError for a file without the columns or with an exo id that is not in `exo`, and if
        no segment has a partner.
    """
    path = local_path(path, _KEY)
    fix = f"set {_KEY} to a CSV with the columns of SUML.PAIRS.PAIRED_COLUMNS"
    found = csv_columns(path, "a list of pairs", fix)
    if missing := [name for name in columns if name not in found]:
        raise UserError(
            f"{path} has no column {missing[0]}, which SUML.PAIRS.PAIRED_COLUMNS {list(columns)} "
            f"names; its columns are {', '.join(found)}"
        )
    rows = {segment.segment_id: row for row, segment in enumerate(ego)}
    positions = {segment.segment_id: position for position, segment in enumerate(exo)}
    # A dict keeps the order of the file and drops repeated pairs.
    partners: list[dict[int, None]] = [{} for _ in ego]
    ego_column, exo_column = columns
    for line, cells in csv_rows(path, "a list of pairs", fix):
        ego_id, exo_id = cells[ego_column].strip(), cells[exo_column].strip()
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
            f"{ego[0].segment_id!r}; check column {ego_column}"
        )
    logger.info("%d of %d ego segments have a partner in %s", paired, len(ego), path)
    indices = np.full((len(ego), max(map(len, partners))), -1, np.int64)
    for row, given in enumerate(partners):
        indices[row, : len(given)] = list(given)
    return indices
