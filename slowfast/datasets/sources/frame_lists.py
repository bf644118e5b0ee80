"""Frame lists of EPIC-KITCHENS: their paths and their rows, from CSV or pickle."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.utils.errors import UserError
from slowfast.utils.paths import InputPath, is_remote, join, local_path
from slowfast.utils.reading import is_file, reading
from slowfast.utils.safe_pickle.load import load_dataframe
from slowfast.utils.text_files import check_csv

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

LIST_KEY = "DATA.PATH_TO_DATA_DIR or the list's key"
AS_PUBLISHED = "use it as published by EPIC-KITCHENS"


def list_paths(folder: InputPath, names: str) -> list[InputPath]:
    """Paths of the lists that one key names: separated by commas, unless a file has the whole name.

    Raises: UserError for a comma with no name before or after it.
    """
    whole = join(folder, names)
    if "," not in names or is_remote(names) or (isinstance(whole, Path) and whole.is_file()):
        return [whole]
    parts = [part.strip() for part in names.split(",")]
    if not all(parts):
        raise UserError(f"{names!r} has an empty list name; remove the extra comma")
    return [join(folder, part) for part in parts]


def read_table(path: InputPath) -> pd.DataFrame:
    """The rows of a .csv or .pkl frame list; the cells of a CSV stay text.

    Raises: UserError for a missing, unreadable or empty file.
    """
    import pandas as pd

    path = present_form(local_path(path, LIST_KEY))
    if not is_file(path, "a frame list"):
        raise UserError(
            f"frame list {path} does not exist; link the annotations there or set "
            "DATA.PATH_TO_DATA_DIR and the list's key"
        )
    kind = path.suffix.lower()
    if kind == ".pkl":
        table = load_dataframe(path)
    elif kind == ".csv":
        check_csv(path, "a frame list", AS_PUBLISHED)
        with reading(path, "a frame list in CSV", AS_PUBLISHED):
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        table = _without_nameless(path, table)
    else:
        raise UserError(f"frame list {path} is neither .csv nor .pkl; convert it to .csv")
    if len(table) == 0:
        raise UserError(f"frame list {path} has no rows; check that it was copied whole")
    return table


def _without_nameless(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Drop the unnamed columns that a comma at the end of every line creates.

    Raises: UserError for cells beyond the columns of the header.
    """
    import pandas as pd

    if not isinstance(table.index, pd.RangeIndex) and len(table):
        # The header has no such comma, so pandas uses the first cells as row names.
        extra = table.index.nlevels
        cells = table.reset_index()
        if (cells.iloc[:, -extra:] != "").to_numpy().any():
            raise UserError(
                f"frame list {path} has rows with more cells than columns; {AS_PUBLISHED}"
            )
        table = cells.iloc[:, :-extra].set_axis(table.columns, axis=1)
    return table.loc[:, [not str(name).startswith("Unnamed: ") for name in table.columns]]


def present_form(path: Path) -> Path:
    """The path of the list, or of its other form (.pkl or .csv) if only that one exists."""
    other = path.with_suffix({".csv": ".pkl", ".pkl": ".csv"}.get(path.suffix, path.suffix))
    with reading(path, "a frame list"):
        if path.exists() or not other.is_file():
            return path
    logger.info("%s does not exist: reading %s, which is next to it", path, other.name)
    return other
