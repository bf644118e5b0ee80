"""Conversion of the records of a pickle to values: numpy arrays and scalars, dates.

Arrays are built from their bytes and a type that is checked here. numpy's own set-state functions,
which trust their input, are never called with data from the file.
"""

from __future__ import annotations

import datetime
import re
import reprlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slowfast.utils.limits import Budget
from slowfast.utils.safe_pickle.records import Record

# Converts a record to its value; the second argument converts the objects inside it.
Maker = Callable[[Record, "Values"], Any]

_ATOMS = frozenset((type(None), bool, int, float, complex, str, bytes, bytearray, slice))
_NUMPY_KINDS = {
    "numpy": ("ndarray", "dtype"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "datetime": ("date", "datetime", "time", "timedelta"),
}


def numpy_kind(module: str, name: str) -> str | None:
    """`KindOf` for numpy arrays and scalars and for dates."""
    return name if name in _NUMPY_KINDS.get(module, ()) else None


class Values:
    """Replacement of records in nested containers; lists and dicts are changed in place.

    makers: kind of record -> converter. leaves: types of values that are kept unchanged.
    budget: bytes that the values may take; None: not limited.
    """

    def __init__(
        self,
        makers: Mapping[str, Maker],
        leaves: tuple[type, ...] = (),
        budget: Budget | None = None,
    ) -> None:
        self.budget = budget or Budget(sys.maxsize)
        self._makers = makers
        self._leaves = leaves
        # Keeps the originals alive too, so that their ids are not reused.
        self._done: dict[int, tuple[Any, Any]] = {}

    def __call__(self, item: Any) -> Any:
        """The value of `item`. Raises: ValueError or TypeError if it is malformed."""
        if type(item) in _ATOMS or isinstance(item, self._leaves):
            return item
        if id(item) in self._done:
            return self._done[id(item)][1]
        value = self._make(item)
        self._done[id(item)] = (item, value)
        return value

    def _make(self, item: Any) -> Any:
        if isinstance(item, Record):
            return self._maker(item.kind)(item, self)
        if isinstance(item, list):
            self._done[id(item)] = (item, item)
            item[:] = [self(value) for value in item]
            return item
        if isinstance(item, dict):
            self._done[id(item)] = (item, item)
            pairs = [(self(key), self(value)) for key, value in item.items()]
            item.clear()
            item.update(pairs)
            return item
        if isinstance(item, (tuple, set, frozenset)):
            return type(item)(self(value) for value in item)
        if isinstance(item, type) and issubclass(item, Record):
            return self._maker(f"type {item.kind}")(item(), self)
        raise ValueError(f"a {type(item).__name__} is not a value")

    def _maker(self, kind: str) -> Maker:
        if kind not in self._makers:
            raise ValueError(f"a {kind} is not a value")
        return self._makers[kind]


# Letter and digits of the width of a text type: below 10^8 characters.
_WIDTH_DIGITS = 9
_INTEGERS = tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))
_FLOATS = ("f2", "f4", "f8", "f16", "c8", "c16", "c32")
_NUMBERS = {code: np.dtype(code) for code in ("?", "b1", *_INTEGERS, *_FLOATS)}
_TEXTS = {"S": np.bytes_, "U": np.str_}
_TIMES = {
    (kind, unit): np.dtype(f"{kind}8{unit and f'[{unit}]'}")
    for kind in "Mm"
    for unit in ("", "D", "h", "m", "s", "ms", "us", "ns")
}


def dtype_of(spec: Any) -> np.dtype[Any]:
    """The type of a `dtype` record or string: number, text, bytes, date, duration or object.

    It is chosen among types that are made here; no type is ever parsed from text of the file.
    """
    state: tuple[Any, ...] = ()
    if isinstance(spec, Record) and spec.kind == "dtype":
        state = spec.state or ()
        spec = spec.args[0]
    matched = re.fullmatch(r"([<>|=]?)(\w\d*|\?)", spec) if isinstance(spec, str) else None
    order, code = matched.groups() if matched else ("", "")
    dtype: np.dtype[Any] | None = _NUMBERS.get(code)
    if code[:1] == "O":
        return np.dtype(object)
    if code[:1] in _TEXTS and code[1:].isdecimal() and len(code) <= _WIDTH_DIGITS:
        dtype = np.dtype((_TEXTS[code[0]], int(code[1:])))
    elif code in ("M8", "m8"):
        dtype = _TIMES.get((code[0], _time_unit(state[8]) if len(state) > 8 else ""))
    if dtype is None:
        raise ValueError(f"arrays of type {reprlib.repr(spec)} are not read")
    if len(state) > 1 and state[1] in ("<", ">"):
        order = state[1]
    return dtype.newbyteorder(">" if order == ">" else "<")


def _time_unit(metadata: Any) -> Any:
    name, count = metadata[1][:2]
    name = name.decode("ascii") if isinstance(name, bytes) else name
    if name == "generic":
        return ""
    return name if count == 1 and isinstance(name, str) else None


def _array(shape: Any, spec: Any, fortran: bool, data: Any, values: Values) -> NDArray:
    dtype = dtype_of(spec)
    order: Literal["C", "F"] = "F" if fortran else "C"
    if dtype.hasobject:
        if not isinstance(data, list):
            raise ValueError("an object array without its list")
        values.budget.take(8 * len(data))
        cells = np.empty(len(data), dtype=object)
        for i, cell in enumerate(data):
            cells[i] = values(cell)
        return cells.reshape(shape, order=order)
    if not isinstance(data, (str, bytes, bytearray)):
        raise ValueError("an array without its bytes")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    values.budget.take(len(raw))
    return array_of(raw, dtype, shape, order)


def array_of(
    raw: bytes, dtype: np.dtype[Any], shape: Sequence[int], order: Literal["C", "F"]
) -> NDArray:
    """A copy of bytes as an array of a type of `dtype_of`, other than object.

    Raises: ValueError if the bytes are more or fewer than the shape needs, or are not valid text.
    """
    array: NDArray = np.ndarray(shape, dtype, buffer=raw, order=order)
    # Items without bytes, as those of type S0, could be any number.
    if array.nbytes != len(raw) or array.size > len(raw):
        raise ValueError(f"an array of shape {shape} with {len(raw)} bytes")
    if dtype.kind == "U":
        codes = np.frombuffer(raw, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        # Python makes strings of such codes that crash later.
        if codes.size and codes.max() > sys.maxunicode:
            raise ValueError("text with a code that is not a character")
    return array.copy(order="K")


def _reconstruct(record: Record, values: Values) -> NDArray:
    if record.state is None:
        raise ValueError("an array without content")
    shape, dtype, fortran, data = record.state[-4:]
    return _array(shape, dtype, bool(fortran), data, values)


def _frombuffer(record: Record, values: Values) -> NDArray:
    data, dtype, shape, order = record.args
    return _array(shape, dtype, order == "F", data, values)


def _ndarray(record: Record, values: Values) -> NDArray:
    shape, dtype, data = record.args
    return _array(shape, dtype, False, data, values)


def _scalar(record: Record, values: Values) -> Any:
    dtype, data = record.args
    return _array((), dtype, False, data, values)[()]


def _date(record: Record, values: Values) -> Any:
    made: type = getattr(datetime, record.kind)
    return made(*record.args)


NUMPY_MAKERS: dict[str, Maker] = {
    "_reconstruct": _reconstruct,
    "_frombuffer": _frombuffer,
    "ndarray": _ndarray,
    "scalar": _scalar,
    **{kind: _date for kind in _NUMPY_KINDS["datetime"]},
}
