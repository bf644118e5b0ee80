"""Parser of pickles that never runs code from them.

A pickle is a program that calls the objects it names. Here a name is either one of a few built-in
types that only hold values, or a `Record`: an inert description of the object that the file would
build. The caller converts the records it knows to values with its own code; every other name is
refused.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from slowfast.utils.errors import UserError
from slowfast.utils.limits import Budget, allowed_bytes
from slowfast.utils.reading import found_in_place, reading, require_file
from slowfast.utils.safe_pickle.stand_ins import STAND_INS, check_key

# (module, name) -> kind of the record; None if the name is refused.
KindOf = Callable[[str, str], str | None]

# Types that only hold values and that a file cannot alter.
_PLAIN_TYPES: dict[tuple[str, str], type] = {
    (module, made.__name__): made
    for module in ("builtins", "__builtin__")
    for made in (complex, slice)
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


class _ForbiddenName(pickle.UnpicklingError):
    """The file names something that is not on the list."""


_LOADERS: dict[int, Callable[[Any], None]] = pickle._Unpickler.dispatch


def _hashing(opcode: bytes, keys: slice) -> Callable[[_Unpickler], None]:
    """The loader of an opcode that hashes these items of the stack, which are checked first."""

    def load(unpickler: _Unpickler) -> None:
        for key in unpickler.stack[keys]:
            check_key(key)
        _LOADERS[opcode[0]](unpickler)

    return load


def _build(unpickler: _Unpickler) -> None:
    """Only records have a state; that of an OrderedDict is attributes, which are dropped."""
    if isinstance(unpickler.stack[-2], Record):
        _LOADERS[pickle.BUILD[0]](unpickler)
    elif isinstance(unpickler.stack[-2], collections.OrderedDict):
        unpickler.stack.pop()
    else:
        raise pickle.UnpicklingError("a state for something that has none")


def _bytearray(unpickler: _Unpickler) -> None:
    """Read the bytes that the file has; the original allocates the claimed length first."""
    (length,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.stack.append(bytearray(unpickler.read(length)))


# The unpickler in Python: the one in C grows its memo to any index and hashes any key.
class _Unpickler(pickle._Unpickler):
    """Unpickler with new types for each file, so that one file cannot alter another's types."""

    stack: list[Any]
    read: Callable[[int], bytes]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **_LOADERS,
        pickle.SETITEM[0]: _hashing(pickle.SETITEM, slice(-2, -1)),
        pickle.SETITEMS[0]: _hashing(pickle.SETITEMS, slice(None, None, 2)),
        pickle.DICT[0]: _hashing(pickle.DICT, slice(None, None, 2)),
        pickle.ADDITEMS[0]: _hashing(pickle.ADDITEMS, slice(None)),
        pickle.FROZENSET[0]: _hashing(pickle.FROZENSET, slice(None)),
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytearray,
    }

    def __init__(self, data: bytes, kind_of: KindOf) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # what arrays of Python 2 need
        self._kind_of = kind_of
        self._types: dict[tuple[str, str], type] = {}
        self._budget = Budget(allowed_bytes(len(data)))
        self.has_records = False

    def find_class(self, module: str, name: str) -> type:
        place = (module, name)
        if place in _PLAIN_TYPES:
            return _PLAIN_TYPES[place]
        if place not in self._types:
            self._types[place] = self._new_type(place)
        return self._types[place]

    def persistent_load(self, pid: Any) -> Record:
        """A record of something that is stored elsewhere, as torch stores tensors."""
        self.has_records = True
        stored = Record(pid)
        stored.kind = "persistent"
        return stored

    def _new_type(self, place: tuple[str, str]) -> type:
        if place in STAND_INS:
            return type(place[1], (STAND_INS[place],), {"budget": self._budget})
        self.has_records = True
        kind = self._kind_of(*place)
        if kind is None:
            raise _ForbiddenName(".".join(place))
        return type(kind, (Record,), {"kind": kind})


class Parsed(NamedTuple):
    """Content of a pickle. has_records: it may hold more than plain values.

    budget: bytes that its values may take.
    """

    content: Any
    has_records: bool
    budget: Budget


def parse_pickle(path: Path, kind_of: KindOf, what: str, fix: str) -> Parsed:
    """Parse the file `path`, see `parse_bytes`. Raises: UserError, also for a missing file."""
    require_file(path, f"a {what}", "check the path")
    with reading(path, f"a {what}", fix):
        data = path.read_bytes()
    return parse_bytes(data, kind_of, path, what, fix)


def parse_bytes(data: bytes, kind_of: KindOf, path: Path, what: str, fix: str) -> Parsed:
    """Parse a pickle; objects of the names that `kind_of` knows become records.

    path, what, fix: for errors: the file, its expected content, and how to fix it.

    Raises: UserError for a damaged or foreign pickle, and for a name that is refused.
    """
    unpickler = _Unpickler(data, kind_of)
    try:
        content = unpickler.load()
    except _ForbiddenName as error:
        raise UserError(
            f"{path} is refused: a {what} does not need {error}, and calling it could run code; "
            f"{fix}"
        ) from None
    except Exception as error:  # a damaged pickle can raise any error
        raise unusable(path, error, what, fix) from error
    return Parsed(content, unpickler.has_records, Budget(allowed_bytes(len(data))))


def unusable(path: Path, error: Exception, what: str, fix: str) -> UserError:
    """The error for malformed content."""
    if found := found_in_place(path, fix):
        return UserError(f"{path}, a {what}, {found}")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"{path} is not a {what}, or it is damaged or truncated ({reason}); {fix}")
