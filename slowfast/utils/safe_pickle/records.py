"""Parser of pickles that never runs code from them.

A pickle is a program that calls the objects it names. Here a name is either one of a few built-in
types that only hold values, or a `Record`: an inert description of the object that the file would
build. The caller converts the records it knows to values with its own code; every other name is
refused.
"""

from __future__ import annotations

import builtins
import collections
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from slowfast.utils.errors import UserError

# (module, name) -> kind of the record; None if the name is refused.
KindOf = Callable[[str, str], str | None]

# Types that only hold values and that a file cannot alter.
_HARMLESS = ("bytearray", "complex", "frozenset", "set", "slice")
_PLAIN_TYPES: dict[tuple[str, str], type] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{
        (module, name): getattr(builtins, name)
        for module in ("builtins", "__builtin__")
        for name in _HARMLESS
    },
}


class Record:
    """Description of one object in a pickle: the called name (`kind`), arguments, final state."""

    kind = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> Record:
        record = super().__new__(cls)
        record.args = args
        record.state = None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any) -> Record:
        """Record that the file calls this object."""
        called = Record(self, *args)
        called.kind = "call"
        return called


class _Latin1Bytes:
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")


class _NoBytes:
    """`bytes()`: how Python 3 writes an empty string of bytes for Python 2."""

    def __new__(cls) -> bytes:  # type: ignore[misc]
        return b""


_BYTES: dict[tuple[str, str], type] = {
    ("_codecs", "encode"): _Latin1Bytes,
    ("builtins", "bytes"): _NoBytes,
    ("__builtin__", "bytes"): _NoBytes,
}


class _ForbiddenName(pickle.UnpicklingError):
    """The file names something that is not on the list."""


class _Unpickler(pickle.Unpickler):
    """Unpickler with new types for each file, so that one file cannot alter another's types."""

    def __init__(self, file: BinaryIO, kind_of: KindOf) -> None:
        super().__init__(file, encoding="latin1")  # what numpy arrays of Python 2 need
        self._kind_of = kind_of
        self._types: dict[tuple[str, str], type] = {}
        self.has_records = False

    def find_class(self, module: str, name: str) -> type:
        place = (module, name)
        if place in _PLAIN_TYPES:
            return _PLAIN_TYPES[place]
        if place not in self._types:
            self._types[place] = self._new_type(place)
        return self._types[place]

    def _new_type(self, place: tuple[str, str]) -> type:
        self.has_records = True
        if place in _BYTES:
            return type(place[1], (_BYTES[place],), {})
        kind = self._kind_of(*place)
        if kind is None:
            raise _ForbiddenName(".".join(place))
        return type(kind, (Record,), {"kind": kind})


class Parsed(NamedTuple):
    """Content of a pickle. has_records: it may hold more than plain values."""

    content: Any
    has_records: bool


def parse_pickle(path: Path, kind_of: KindOf, what: str, mend: str) -> Parsed:
    """Parse `path`; objects of the names that `kind_of` knows become records.

    what, mend: for errors: the expected content of the file, and how to fix it.

    Raises: UserError for a missing, damaged or foreign file, and for a name that is refused.
    """
    try:
        with path.open("rb") as file:
            unpickler = _Unpickler(file, kind_of)
            return Parsed(unpickler.load(), unpickler.has_records)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path of this {what}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except _ForbiddenName as error:
        raise UserError(
            f"{path} is refused: a {what} does not need {error}, and calling it could run code; "
            f"{mend}"
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything
        raise unusable(path, error, what, mend) from error


def unusable(path: Path, error: Exception, what: str, mend: str) -> UserError:
    """The error for malformed content."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path} is not a {what}, or it is damaged or truncated ({reason}); {mend}")
