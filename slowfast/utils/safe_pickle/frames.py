"""Conversion of the records of a pickled pandas table (pandas 0.19 to 3) to a DataFrame.

Tables of all versions have the same content: two indexes (columns, rows) and blocks, each with
values and the positions of its columns. Only the wrappers have changed. They are read here and
passed to the public constructor, so the installed version of pandas does not matter. Text columns
become object columns.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slowfast.utils.limits import Budget
from slowfast.utils.safe_pickle.records import Record
from slowfast.utils.safe_pickle.values import NUMPY_MAKERS, Maker, Values, numpy_kind

if TYPE_CHECKING:
    import pandas as pd

# Names are compared without their modules, which have moved since pandas 0.19.
_PANDAS_NAMES = frozenset(
    (
        *("DataFrame", "BlockManager", "_unpickle_block", "new_block", "_new_Index"),
        *("Index", "Int64Index", "UInt64Index", "Float64Index", "RangeIndex"),
        *("Categorical", "CategoricalDtype", "StringArray", "StringDtype", "ArrowStringArray"),
        *("ArrowExtensionArray", "ArrowDtype", "DatetimeArray", "TimedeltaArray"),
        *("IntegerArray", "FloatingArray", "BooleanArray", "BooleanDtype"),
        *(f"{kind}{bits}Dtype" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)),
        *("Float32Dtype", "Float64Dtype", "__pyx_unpickle_NDArrayBacked"),
        *("Timestamp", "_unpickle_timestamp", "__nat_unpickle", "_nat_unpickle", "NA"),
    )
)
_ARROW_NAMES = frozenset(("chunked_array", "_restore_array", "py_buffer", "type_for_alias"))
# Types that a cell with a list must not contain.
_NESTED = (list, tuple, dict, set, frozenset, np.ndarray)
_ARROW_OFFSETS = {"string": np.int32, "large_string": np.int64}
_TIMESTAMP_UNITS = {7: "s", 8: "ms", 9: "us", 10: "ns"}


def frame_kind(module: str, name: str) -> str | None:
    """`KindOf` for tables and the contents of their cells."""
    if module == "pandas" or module.startswith("pandas."):
        return name if name in _PANDAS_NAMES else None
    if module == "pyarrow.lib":
        return name if name in _ARROW_NAMES else None
    if (module, name) == ("functools", "partial"):
        return name
    return numpy_kind(module, name)


def frame_of(record: Any, budget: Budget) -> pd.DataFrame:
    """The table of a parsed pickle, of at most `budget` bytes.

    Raises: any error if it is not a table.
    """
    import pandas as pd

    if not isinstance(record, Record) or record.kind != "DataFrame":
        raise ValueError(f"it holds a {getattr(record, 'kind', type(record).__name__)}, no table")
    values = Values(value_makers(), budget=budget)
    manager = record.state.get("_mgr", record.state.get("_data"))
    columns, rows = (_index(axis, values) for axis in _axes(manager))
    by_position: dict[int, NDArray] = {}
    for block, positions in _blocks(manager, values):
        for position, column in zip(positions, block, strict=True):
            by_position[int(position)] = _flat(column, budget)
    if sorted(by_position) != list(range(len(columns))):
        raise ValueError(f"{len(by_position)} columns of values for {len(columns)} names")
    frame = pd.DataFrame(
        {
            position: pd.Series(column, index=rows, dtype=column.dtype)
            for position, column in sorted(by_position.items())
        },
        index=rows,
    )
    frame.columns = columns
    return frame


def _axes(manager: Record) -> Any:
    """Columns, rows: argument of the manager since pandas 1.3, state before."""
    return manager.args[1] if manager.args else manager.state[-1]["0.14.1"]["axes"]


def _blocks(manager: Record, values: Values) -> Iterator[tuple[NDArray, NDArray]]:
    """Each block as (its columns, their positions)."""
    if not manager.args:
        for block in manager.state[-1]["0.14.1"]["blocks"]:
            yield _columns(block["values"], values), _positions(block["mgr_locs"], values)
        return
    for block in manager.args[0]:
        if block.kind == "_unpickle_block":
            content, positions, _ = block.args
        elif block.kind == "call" and block.args[0].kind == "partial":  # pandas 1.3
            _, content, positions = block.args
        else:
            raise ValueError(f"a {block.kind} is not a block")
        yield _columns(content, values), _positions(positions, values)


def _columns(content: Any, values: Values) -> NDArray:
    """The columns of a block: (columns, rows). A newer block of one column lacks the first axis."""
    array: NDArray = values(content)
    return array if array.ndim == 2 else array[np.newaxis]


def _flat(cells: NDArray, budget: Budget) -> NDArray:
    """The cells, if each is a value or a list of values.

    A list that holds the same list twice, and so on, has 2^depth items as soon as it becomes text.
    """
    for cell in cells if cells.dtype.hasobject else ():
        if isinstance(cell, (list, tuple)):
            budget.take(8 * len(cell))
            if any(isinstance(item, _NESTED) for item in cell):
                raise ValueError("a cell with nested lists")
        elif isinstance(cell, _NESTED):
            raise ValueError(f"a cell that is a {type(cell).__name__}")
    return cells


def _positions(content: Any, values: Values) -> NDArray:
    if isinstance(content, slice):
        values.budget.take(8 * len(range(content.start, content.stop, content.step or 1)))
        return np.arange(content.start, content.stop, content.step)
    array: NDArray = values(content)
    return array


def _index(record: Record, values: Values) -> pd.Index:
    import pandas as pd

    index: pd.Index = values(record)
    if not isinstance(index, pd.Index):
        raise ValueError("an axis is not an index")
    return index


def _new_index(record: Record, values: Values) -> pd.Index:
    import pandas as pd

    cls, content = record.args
    name = values(content.get("name"))
    if not isinstance(name, (str, int, type(None))):
        raise ValueError("an index with a name that is not text")
    if cls.kind == "RangeIndex":
        numbers = range(content["start"], content["stop"], content["step"])
        # A range of any length takes no byte in the file, but 8 per number here.
        values.budget.take(8 * len(numbers))
        return pd.RangeIndex(numbers, name=name)
    labels: NDArray = values(content["data"])
    if labels.dtype.hasobject and any(isinstance(cell, _NESTED) for cell in labels):
        raise ValueError("an index with several levels")
    return pd.Index(labels, name=name)


def _of_state(record: Record, *names: str) -> Any:
    """The first of the attributes `names` that the state has."""
    for name in names:
        if name in record.state:
            return record.state[name]
    raise ValueError(f"a {record.kind} without {names[0]}")


def _ndarray_backed(record: Record, values: Values) -> NDArray:
    """Wrappers of a numpy array, since pandas 1.3: state (type, array, ...)."""
    array: NDArray = values(record.state[1])
    if record.args[0].kind == "Categorical":
        return _category_values(record.state[0].state["categories"], array, values)
    return array


def _categorical(record: Record, values: Values) -> NDArray:
    if "_categories" in record.state:
        categories = record.state["_categories"]
    else:
        categories = record.state["_dtype"].state["categories"]
    return _category_values(categories, values(record.state["_codes"]), values)


def _category_values(categories: Any, codes: NDArray, values: Values) -> NDArray:
    """The category of each code; code -1 is a missing value."""
    known = np.append(np.asarray(values(categories), dtype=object), np.array([np.nan], object))
    values.budget.take(8 * codes.size)
    taken: NDArray = known[codes]
    return taken


def _masked(record: Record, values: Values) -> NDArray:
    """Masked arrays; with missing values, an object array that has NaN in their place."""
    data, mask = values(record.state["_data"]), values(record.state["_mask"])
    if not mask.any():
        return data
    cells: NDArray = data.astype(object)
    cells[mask] = np.nan
    return cells


def _text(record: Record, values: Values) -> NDArray:
    return values(_of_state(record, "_ndarray"))


def _arrow_text(record: Record, values: Values) -> NDArray:
    content = _of_state(record, "_pa_array", "_data")
    chunks = content.args[0] if content.kind == "chunked_array" else [content]
    cells = [cell for chunk in chunks for cell in _arrow_cells(chunk, values.budget)]
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


def _arrow_cells(chunk: Record, budget: Budget) -> list[Any]:
    """Strings of an Arrow array: a bit mask, offsets, and all text in one buffer."""
    kind, length, _, offset, buffers, _, _ = chunk.args[0]
    if kind.args[0] not in _ARROW_OFFSETS:
        raise ValueError(f"Arrow columns of {reprlib.repr(kind.args[0])} are not read")
    mask, ends, text = (b"" if b is None else b.args[0] for b in buffers)
    if not all(isinstance(part, (bytes, bytearray)) for part in (mask, ends, text)):
        raise ValueError("an Arrow buffer without its bytes")
    limits = np.frombuffer(ends, _ARROW_OFFSETS[kind.args[0]])[offset : offset + length + 1]
    if len(limits) != length + 1 or (np.diff(limits) < 0).any():
        raise ValueError("an Arrow column whose offsets do not match its length")
    budget.take(8 * length + len(text))
    present = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[offset:]
    return [
        text[limits[i] : limits[i + 1]].decode("utf-8") if not mask or present[i] else np.nan
        for i in range(length)
    ]


def _timestamp(record: Record, values: Values) -> Any:
    import pandas as pd

    value, _, zone, *resolution = record.args
    if zone is not None:
        raise ValueError("time stamps with a time zone are not read")
    unit = _TIMESTAMP_UNITS[resolution[0] if resolution else 10]
    return pd.Timestamp(value, unit=unit)


def _not_a_time(record: Record, values: Values) -> Any:
    import pandas as pd

    return pd.NaT


def _not_available(record: Record, values: Values) -> Any:
    import pandas as pd

    return pd.NA


def value_makers() -> dict[str, Maker]:
    """Converters of numpy arrays and of the arrays, indexes and time stamps of pandas."""
    return {
        **NUMPY_MAKERS,
        "_new_Index": _new_index,
        "__pyx_unpickle_NDArrayBacked": _ndarray_backed,
        "Categorical": _categorical,
        "StringArray": _text,
        "ArrowStringArray": _arrow_text,
        "ArrowExtensionArray": _arrow_text,
        "IntegerArray": _masked,
        "FloatingArray": _masked,
        "BooleanArray": _masked,
        "Timestamp": _timestamp,
        "_unpickle_timestamp": _timestamp,
        "__nat_unpickle": _not_a_time,
        "_nat_unpickle": _not_a_time,
        "type NA": _not_available,
    }
