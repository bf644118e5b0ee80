"""Loaders for downloaded pickles that never run code from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.utils.safe_pickle.records import parse_pickle, unusable
from slowfast.utils.safe_pickle.values import NUMPY_MAKERS, Values, numpy_kind

if TYPE_CHECKING:
    import pandas as pd

_PLAIN_FIX = (
    "save it again as built-in types and numpy arrays, or the weights of a model as .safetensors"
)
_TABLE_FIX = "convert it to .csv with the pandas that wrote it (DataFrame.to_csv)"


def load_plain(path: Path | str) -> Any:
    """The content of a pickle of built-in types, dates, numpy arrays and scalars.

    Text from Python 2 is decoded as latin-1, which arrays from Python 2 require.

    Raises: UserError for a missing, damaged or foreign file, and for one that names anything else.
    """
    path, what = Path(path), "pickle of plain values"
    parsed = parse_pickle(path, numpy_kind, what, _PLAIN_FIX)
    if not parsed.has_records:
        return parsed.content
    try:
        return Values(NUMPY_MAKERS, budget=parsed.budget)(parsed.content)
    except Exception as error:  # a damaged record can raise almost anything
        raise unusable(path, error, what, _PLAIN_FIX) from error


def load_arrays(path: Path | str) -> Any:
    """As `load_plain`, and the text arrays and indexes of pandas, which become numpy arrays.

    Raises: UserError for a missing, damaged or foreign file, and for one that names anything else.
    """
    import pandas as pd

    from slowfast.utils.safe_pickle.frames import frame_kind, value_makers

    path, what = Path(path), "pickle of plain values"
    parsed = parse_pickle(path, frame_kind, what, _PLAIN_FIX)
    try:
        return Values(value_makers(), leaves=(pd.Index,), budget=parsed.budget)(parsed.content)
    except Exception as error:  # a damaged record can raise almost anything
        raise unusable(path, error, what, _PLAIN_FIX) from error


def load_dataframe(path: Path | str) -> pd.DataFrame:
    """The table of a pandas pickle, of pandas 0.19 to 3; text columns become object columns.

    Raises: UserError for a missing, damaged or foreign file, and for one that names anything else.
    """
    from slowfast.utils.safe_pickle.frames import frame_kind, frame_of

    path, what = Path(path), "pickled pandas table"
    parsed = parse_pickle(path, frame_kind, what, _TABLE_FIX)
    try:
        return frame_of(parsed.content, parsed.budget)
    except Exception as error:  # a damaged record can raise almost anything
        raise unusable(path, error, what, _TABLE_FIX) from error
