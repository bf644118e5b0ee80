"""Bounds of config keys, and the check of a config against them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fvcore.common.config import CfgNode

from slowfast.utils.errors import UserError


class Bound(ABC):
    """The allowed values of one key, independent of other keys.

    `str()` names them in words, for errors and for a reference of the keys: `0 or more`.
    """

    _verb: ClassVar[str] = "set it to"

    @abstractmethod
    def allows(self, value: Any) -> bool:
        """Whether the key may have the value, which has the type of the key's default."""

    @property
    def fix(self) -> str:
        """Instruction that ends an error line: `set it to 0 or more`."""
        return f"{self._verb} {self}"


@dataclass(frozen=True)
class Choice(Bound):
    """One of a few values."""

    values: tuple[str | int, ...]
    _verb = "choose"

    def allows(self, value: Any) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Subset(Bound):
    """A list, possibly empty, of values from a fixed set."""

    values: tuple[str, ...]
    _verb = "choose"

    def allows(self, value: Any) -> bool:
        return all(item in self.values for item in value)

    def __str__(self) -> str:
        return f"any of {', '.join(self.values)}"


@dataclass(frozen=True)
class Range(Bound):
    """Numbers from a lower bound (`at_least` or `above`) to an optional upper bound."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.above is None):
            raise ValueError(f"a range starts either at_least or above some number: {self!r}")

    def allows(self, value: Any) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        low = f"above {self.above}" if self.at_least is None else str(self.at_least)
        if self.at_most is not None:
            return f"from {low} to {self.at_most}"
        if self.below is not None:
            return f"from {low} to below {self.below}"
        return low if self.at_least is None else f"{low} or more"

    @property
    def fix(self) -> str:
        # "set it above 0" and "set it from 0 to below 1", but "set it to 0 or more".
        return f"set it {self}" if str(self).startswith(("above", "from")) else super().fix


@dataclass(frozen=True)
class Odd(Bound):
    """Odd numbers from 1."""

    def allows(self, value: Any) -> bool:
        return value >= 1 and value % 2 == 1

    def __str__(self) -> str:
        return "an odd number, 1 or more"


@dataclass(frozen=True)
class Span(Bound):
    """`[smallest, largest]`, both in a range."""

    each: Range
    _verb = "give"

    def allows(self, value: Any) -> bool:
        return len(value) == 2 and value[0] <= value[1] and all(map(self.each.allows, value))

    def __str__(self) -> str:
        return f"[smallest, largest], both {self.each}"


@dataclass(frozen=True)
class Numbers(Bound):
    """Numbers in nested lists of a fixed shape, all in one range.

    layout: the shape in words. each: range of the numbers; None allows any number.
    """

    shape: tuple[int, ...]
    layout: str
    each: Range | None = None
    _verb = "give"

    def allows(self, value: Any) -> bool:
        return self._fits(value, self.shape)

    def _fits(self, value: Any, shape: tuple[int, ...]) -> bool:
        if not shape:
            return self.each is None or self.each.allows(value)
        return len(value) == shape[0] and all(self._fits(part, shape[1:]) for part in value)

    def __str__(self) -> str:
        return f"{self.layout}, all {self.each}" if self.each else self.layout


@dataclass(frozen=True)
class NotEmpty(Bound):
    """Text that is not empty. wanted: description of its content, for the error."""

    wanted: str
    _verb = "name"

    def allows(self, value: Any) -> bool:
        return value != ""

    def __str__(self) -> str:
        return self.wanted


def check_bounds(cfg: CfgNode, bounds: Mapping[str, Bound]) -> None:
    """Check each key against its bound.

    Raises: UserError for the first key, in the order of `bounds`, whose value is out of bounds.
    """
    for key, bound in bounds.items():
        value: Any = cfg
        for part in key.split("."):
            value = value[part]
        if not bound.allows(value):
            raise UserError(f"{key} is {value!r}; {bound.fix}")
