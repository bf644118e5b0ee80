"""Objects of other programs in a PyTorch file, which are left out without being created.

Trainers keep their settings next to the weights: a CfgNode, a Namespace, Lightning's AttributeDict.
Weights do not need them, and creating them could run code.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch.serialization import get_unsafe_globals_in_checkpoint

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


# Key of the class name in the dict that replaces an object.
_CLASS = object()


class Foreign:
    """Stand-in for an unknown class; its objects become dicts of their state in the file.

    torch only fills in dicts. place: module and name of the class.
    """

    place: ClassVar[str]

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict({_CLASS: cls.place})


def foreign_classes(path: Path) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """A class and its name for every class that the archive at `path` names and torch refuses.

    Functions (names in lower case) and built-in names stay refused.
    """
    names = [name.rpartition(".") for name in get_unsafe_globals_in_checkpoint(str(path))]
    return [
        (type(name, (Foreign,), {"place": f"{module}.{name}"}), f"{module}.{name}")
        for module, _, name in names
        if name[:1].isupper() and module not in ("builtins", "__builtin__")
    ]


def without_foreign(path: Path, content: Any) -> Any:
    """The content without the entries that hold a foreign object, which are logged.

    Raises: UserError if the content itself is one.
    """
    if not isinstance(content, Mapping) or _CLASS in content:
        if place := next(_foreign_in(content), ""):
            raise UserError(
                f"{path} is refused: weights do not need {place}, and creating it could run code; "
                "ask its author to save the weights alone, or as .safetensors"
            )
        return content
    found = {key: next(_foreign_in(value), "") for key, value in content.items()}
    left_out = [f"{key} ({place})" for key, place in found.items() if place]
    if left_out:
        logger.info("%s: left out what weights do not need: %s", path, ", ".join(left_out))
    return {key: value for key, value in content.items() if not found[key]}


def _foreign_in(value: Any) -> Iterator[str]:
    """Names of the classes of the foreign objects in nested containers."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict) and _CLASS in item:
            yield item[_CLASS]
        elif isinstance(item, type) and issubclass(item, Foreign):
            yield item.place
        elif isinstance(item, (dict, list, tuple, set, frozenset)) and id(item) not in seen:
            seen.add(id(item))
            waiting += item
            waiting += item.values() if isinstance(item, dict) else ()
