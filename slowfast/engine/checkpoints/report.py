"""What a load of weights asks for, and its report on every name."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_EXAMPLES = 3


class Required(enum.Enum):
    """What a model must get from a file; less than that is an error."""

    NOTHING = "nothing"
    # A training may start with new heads and projections.
    BACKBONE = "backbone"
    # A test uses no random weight.
    ALL = "all"


class LoadOptions(NamedTuple):
    """How weights of a file are matched with a model's.

    head: name, in the file, of the model's own head; empty: the same name.
    inflate: turn 2-D convolutions into 3-D ones.
    section: of the config, TEST or TRAIN, whose keys errors name.
    """

    head: str = ""
    inflate: bool = False
    required: Required = Required.NOTHING
    section: str = "TEST"


class Shapes(NamedTuple):
    """The shape of one weight in the file and in the model."""

    file: tuple[int, ...]
    model: tuple[int, ...]


@dataclass
class LoadReport:
    """What happened to the names of a file and of a model; all are published names.

    missing: in the model only; they keep their values. unexpected: in the file only; ignored.
    mismatched: in both, with other shapes; not loaded.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, Shapes] = field(default_factory=dict)

    def summary(self) -> str:
        """One line: how many of each, with examples."""
        return (
            f"{self.source}: {len(self.loaded)} weights loaded; "
            f"{counted(self.missing)} missing, which keep their initial values; "
            f"{counted(self.unexpected)} that the model does not need; "
            f"{counted(self.mismatched)} of another shape"
        )


def counted(names: Iterable[str]) -> str:
    """`12 (a, b, c, ...)`."""
    listed = list(names)
    return f"{len(listed)} ({examples(listed)})" if listed else "0"


def examples(names: Iterable[str]) -> str:
    """`a, b, c, ...`."""
    listed = list(names)
    more = ", ..." if len(listed) > _EXAMPLES else ""
    return ", ".join(listed[:_EXAMPLES]) + more
