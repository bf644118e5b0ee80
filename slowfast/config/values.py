"""One setting as the user wrote it, and its conversion to the type of the key."""

from __future__ import annotations

import ast
import math
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from slowfast.utils.errors import UserError
from slowfast.utils.text_files import parse_yaml

COMMAND_LINE = "command line"


class Setting(NamedTuple):
    """`key: value` of a file, or `KEY VALUE` of the command line.

    key: dotted (`SOLVER.BASE_LR`).
    origin: the file, or "command line".
    written: the name that the user wrote, if it differs from `key`; "" otherwise.
    """

    key: str
    value: Any
    origin: str
    written: str = ""

    @property
    def where(self) -> str:
        """`file: KEY`, for messages."""
        name = f"{self.written} (here {self.key})" if self.written else self.key
        return f"{self.origin}: {name}"


def typed(setting: Setting, like: Any) -> Any:
    """The setting's value in the type of `like`, the default of its key.

    An int is accepted as a float, true and false in any case as a bool, and text as the literal
    it spells (YAML reads `1e-4` as text). The elements of a list get the type of its default's
    elements.

    Raises: UserError that names key, value and expected type.
    """
    value = setting.value
    if isinstance(like, str) and isinstance(value, list) and setting.key.endswith("DATA_LIST"):
        # Several lists, which a command line separates by commas.
        value = ",".join(map(str, value))
    try:
        return _convert(value, like)
    except ValueError:
        hint = ""
        if type(like) is int and isinstance(literal(setting.value), float):
            hint = f"; a key that takes fractions is declared with the default {float(like)!r}"
        raise UserError(
            f"{setting.where} is {reprlib.repr(setting.value)}, but its type is {_type_name(like)}"
            f" (default {like!r}){hint}"
        ) from None


def literal(text: Any) -> Any:
    """The Python literal that a text spells; other text is returned unchanged."""
    if not isinstance(text, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _type_name(like: Any) -> str:
    if isinstance(like, list):
        return f"list of {_type_name(like[0])}" if like else "list"
    return type(like).__name__


def _convert(value: Any, like: Any) -> Any:
    if isinstance(like, list):
        return _to_list(value, like)
    return _SCALARS[type(like)](value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError(value)


def _to_int(value: Any) -> int:
    if isinstance(value, str):
        value = literal(value)
    if type(value) is not int:
        raise ValueError(value)
    return value


def _to_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
    return value[1:-1] if quoted else value


def _to_list(value: Any, like: list[Any]) -> list[Any]:
    if isinstance(value, str):
        value = _list_from_text(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(value)
    if not like:
        return [literal(element) for element in value]
    return [_convert(element, like[0]) for element in value]


def _list_from_text(text: str) -> Any:
    """`[1, 2]`, `1,2` or `[some/path, other/path]`."""
    value = literal(text)
    if isinstance(value, str) and text.lstrip().startswith("["):
        try:
            value = parse_yaml(text)
        except (yaml.YAMLError, RecursionError):
            raise ValueError(text) from None
    return value


_SCALARS: dict[type, Callable[[Any], Any]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
}
