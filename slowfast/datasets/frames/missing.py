"""Videos without frames: an error at the first, or a list of all of them for who asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from slowfast.utils.errors import UserError

_EXAMPLES = 5


@dataclass
class MissingVideos:
    """Videos of one list that have no frames, and how many videos the list has."""

    names: list[str]
    videos: int

    def __str__(self) -> str:
        shown = ", ".join(self.names[:_EXAMPLES]) + (", ..." if len(self.names) > _EXAMPLES else "")
        return f"{len(self.names)} of {self.videos} video(s): {shown}"


_collected: ContextVar[list[MissingVideos] | None] = ContextVar("collected", default=None)


@contextmanager
def missing_collected() -> Iterator[list[MissingVideos]]:
    """Within it, data sets are built although videos are missing, which the list then tells."""
    found: list[MissingVideos] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def report_missing(errors: Mapping[str, UserError], videos: int) -> None:
    """What a frame store has found in a list with `videos` videos: the error of each that lacks.

    Raises: UserError, the first one, with the names of the others; nothing where all are there or
        somebody collects.
    """
    if not errors:
        return
    missing = MissingVideos(list(errors), videos)
    collected = _collected.get()
    if collected is not None:
        collected.append(missing)
        return
    first = next(iter(errors.values()))
    raise UserError(f"{first} (missing: {missing})" if len(errors) > 1 else str(first)) from None
