"""Reads pickles without running any code of theirs.

A pickle is a program that calls what it names. Here a name either stands for one of a few harmless
built-in types, or for a `Record`: an inert note of what the file wanted to build. The caller turns
the records it knows into values with code of its own; any other name is refused.
"""

from __future__ import annotations

import builtins
import collections
import datetime
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slowfast.utils.errors import UserError

# Types of the interpreter that do nothing but hold values, and that a file cannot alter.
_BUILTIN_TYPES: dict[str, type] = {
    name: getattr(builtins, name) for name in ("bytearray", "complex", "frozenset", "set", "slice")
}
_PLAIN_TYPES: dict[tuple[str, str], type] = {
    **{("builtins", name): found for name, found in _BUILTIN_TYPES.items()},
    **{("__builtin__", name): found for name, found in _BUILTIN_TYPES.items()},
    ("collections", "OrderedDict"): collections.OrderedDict,
}


class Record:
    """What a pickle says about one object: the name it calls, the arguments, the state after."""

    kind = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Record:
        record = super().__new__(cls)
        record.args = args
        record.kwargs = kwargs
        record.state = None
        return record

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...]
        self.kwargs: dict[str, Any]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any) -> Record:
        called = Record(self, *args)
        called.kind = "call"
        return called


class _EncodedBytes:
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")


class _EmptyBytes:
    """`bytes()`: how Python 3 writes no bytes for Python 2."""

    def __new__(cls) -> bytes:  # type: ignore[misc]
        return b""


class _ForbiddenName(pickle.UnpicklingError):
    """The file names something that is not on the list."""


class _Unpickler(pickle.Unpickler):
    """Every name becomes a type of this load alone, so that no file can alter what another gets."""

    def __init__(self, file: io.BufferedIOBase, kind_of: Callable[[str, str], str | None]) -> None:
        super().__init__(file, encoding="latin1")
        self._kind_of = kind_of
        self._types: dict[tuple[str, str], type] = {}

    def find_class(self, module: str, name: str) -> type:
        place = (module, name)
        if place in _PLAIN_TYPES:
            return _PLAIN_TYPES[place]
        if place not in self._types:
            self._types[place] = self._new_type(module, name)
        return self._types[place]

    def _new_type(self, module: str, name: str) -> type:
        if (module, name) == ("_codecs", "encode"):
            return type(name, (_EncodedBytes,), {})
        if (module, name) in (("builtins", "bytes"), ("__builtin__", "bytes")):
            return type(name, (_EmptyBytes,), {})
        kind = self._kind_of(module, name)
        if kind is None:
            raise _ForbiddenName(f"{module}.{name}")
        return type(name, (Record,), {"kind": kind})


def read_records(
    path: Path, kind_of: Callable[[str, str], str | None], what: str, mend: str
) -> Any:
    """The content of the pickle `path`; objects of known names are `Record`s.

    kind_of: (module, name) -> the kind of record, None for a name that is refused.
    what, mend: for the error: what the file should be, and what to do where it is not.

    Raises: UserError for a missing, cut or foreign file, and for a name that is refused.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, kind_of).load()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path of {what}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except _ForbiddenName as error:
        raise UserError(
            f"{path} is refused: its pickle names {error}, which {what} has no use for and which "
            f"could run code; {mend}"
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise damaged(path, error, what, mend) from error


def damaged(path: Path, error: Exception, what: str, mend: str) -> UserError:
    """The error for content that does not make sense."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{path} is not {what}, or damaged or cut short ({reason}); {mend}")


def record_kinds(kinds: dict[tuple[str, str], str]) -> Callable[[str, str], str | None]:
    """`kind_of` by a table."""
    return lambda module, name: kinds.get((module, name))


_DATETIMES: dict[str, Callable[..., Any]] = {
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
}
