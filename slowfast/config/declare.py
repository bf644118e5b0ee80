"""Functions that `defaults.py` declares keys with, and the config tree that they build.

    _C.SOLVER.BASE_LR = number(0.1, at_least=0)
    _C.SOLVER.LR_POLICY = choice("cosine", "steps_with_relative_lrs")
    _C.SOLVER.NESTEROV = True

The first argument is always the default. A key without a bound is declared by its default alone;
the default's type is the type of the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from fvcore.common.config import CfgNode

from slowfast.config.bounds import Bound, Choice, Numbers, Odd, Range, Span, Subset


class Section(SimpleNamespace):
    """Keys and further sections, in the order of their declaration."""


class Declaration(NamedTuple):
    """Default and bound of one key. is_path: `~` and `$NAME` in it are expanded."""

    default: Any
    bound: Bound | None = None
    is_path: bool = False


def choice(default: str | int, *others: str | int) -> Declaration:
    """One of the arguments; the first is the default."""
    return Declaration(default, Choice((default, *others)))


def subset(default: Sequence[str], of: Sequence[str]) -> Declaration:
    """A list, possibly empty, of names from `of`."""
    return Declaration(list(default), Subset(tuple(of)))


def number(
    default: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Declaration:
    """A number in a range. It is an int if the default is one, so write 0.0 for fractions."""
    return Declaration(default, Range(at_least, above, at_most, below))


def odd_number(default: int) -> Declaration:
    """An odd number, at least 1, such as the size of a centred kernel."""
    return Declaration(default, Odd())


def span(default: Sequence[int], *, at_least: int) -> Declaration:
    """`[smallest, largest]`."""
    return Declaration(list(default), Span(Range(at_least)))


def per_channel(default: Sequence[float], *, above: float | None = None) -> Declaration:
    """One number for each of the three colour channels."""
    each = None if above is None else Range(above=above)
    return Declaration(list(default), Numbers((3,), "3 numbers, one per colour channel", each))


def per_stage(default: Sequence[Sequence[int]], *, at_least: int) -> Declaration:
    """`[slow, fast]` for each of the stages s2 to s5."""
    layout = "[slow, fast] for each of the stages s2 to s5"
    return Declaration(
        [list(stage) for stage in default],
        Numbers((4, 2), layout, Range(at_least)),
    )


def path(default: str | Sequence[str], bound: Bound | None = None) -> Declaration:
    """A file or folder, or a list of them; `~` and `$NAME` in it are expanded."""
    return Declaration(default if isinstance(default, str) else list(default), bound, is_path=True)


def to_cfg(section: Section) -> CfgNode:
    """The plain defaults of a section as a yacs node."""
    cfg = CfgNode()
    for name, entry in vars(section).items():
        cfg[name] = to_cfg(entry) if isinstance(entry, Section) else _declaration(entry).default
    return cfg


def declarations(section: Section, prefix: str = "") -> Iterator[tuple[str, Declaration]]:
    """(dotted key, declaration) of every key."""
    for name, entry in vars(section).items():
        if isinstance(entry, Section):
            yield from declarations(entry, f"{prefix}{name}.")
        else:
            yield prefix + name, _declaration(entry)


def bounds_of(section: Section) -> Iterator[tuple[str, Bound]]:
    """(dotted key, bound) of every key that has a bound."""
    for key, declaration in declarations(section):
        if declaration.bound:
            yield key, declaration.bound


def _declaration(entry: Any) -> Declaration:
    return entry if isinstance(entry, Declaration) else Declaration(entry)
