"""Stand-ins for the built-in types that a pickle may call, bounded by the budget of the file.

Each file gets its own sub-classes, which carry the budget of that file.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Sequence
from typing import Any

from slowfast.utils.limits import KEY_BITS, KEY_PARTS, Budget


class _Latin1Bytes:
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes for Python 2."""

    budget: Budget

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
        cls.budget.take(len(text))
        return text.encode("latin1")


class _NoBytes:
    """`bytes()`: how Python 3 writes an empty string of bytes for Python 2."""

    def __new__(cls) -> bytes:  # type: ignore[misc]
        return b""


class _ByteArray:
    """`bytearray(content)`, but not `bytearray(length)`, which allocates any length at once."""

    budget: Budget

    def __new__(cls, content: bytes | str = b"", encoding: str = "latin-1") -> bytearray:  # type: ignore[misc]
        cls.budget.take(len(content))
        return bytearray(content if isinstance(content, bytes) else content.encode("latin-1"))


class _Hashed:
    """Containers that hash their items."""

    budget: Budget
    made: type

    def __new__(cls, items: Sequence[Any] = ()) -> Any:
        cls.budget.take(len(items))
        for item in items:
            check_key(item[0] if cls.made is collections.OrderedDict else item)
        return cls.made(items)


class _Set(_Hashed):
    made = set


class _FrozenSet(_Hashed):
    made = frozenset


class _OrderedDict(_Hashed):
    made = collections.OrderedDict


STAND_INS: dict[tuple[str, str], type] = {
    ("_codecs", "encode"): _Latin1Bytes,
    ("collections", "OrderedDict"): _OrderedDict,
    **{
        (module, name): made
        for module in ("builtins", "__builtin__")
        for name, made in (
            ("bytes", _NoBytes),
            ("bytearray", _ByteArray),
            ("set", _Set),
            ("frozenset", _FrozenSet),
        )
    },
}


def check_key(key: Any) -> None:
    """Refuse a key whose hash may take long.

    Raises: UnpicklingError for a large integer, or a tuple with more parts than any key of a table
        needs.
    """
    waiting, parts = [key], 0
    while waiting:
        item = waiting.pop()
        parts += 1
        if parts > KEY_PARTS or (isinstance(item, int) and item.bit_length() > KEY_BITS):
            raise pickle.UnpicklingError("a key is too large")
        if isinstance(item, tuple):
            waiting += item[:KEY_PARTS]
