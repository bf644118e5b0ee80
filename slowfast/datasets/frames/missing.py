"""Videos without frames: an error at the first one, or a list of all of them on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from slowfast.utils.errors import UserError

_EXAMPLES = 5


@dataclass
class MissingVideos:
    """Videos of one list that have no frames, and how many videos the list has.

    reason: why the first video has no frames, and the fix.
    """

    names: list[str]
    videos: int
    reason: str

    def __str__(self) -> str:
        shown = ", ".join(self.names[:_EXAMPLES]) + (", ..." if len(self.names) > _EXAMPLES else "")
        return f"{len(self.names)} of {self.videos} video(s): {shown}"


_collected: ContextVar[list[MissingVideos] | None] = ContextVar("collected", default=None)


@contextmanager
def missing_collected() -> Iterator[list[MissingVideos]]:
    """Context manager in which missing videos are collected instead of raising an error."""
    found: list[MissingVideos] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def report_missing(errors: Mapping[str, UserError], videos: int) -> None:
    """Report the missing videos of a frame store: one error per missing video out of `videos`.

    Raises: UserError, the first one, with the names of the others. Nothing is raised if no video
        is missing, or inside the context that collects them.
    """
    if not errors:
        return
    missing = MissingVideos(list(errors), videos, str(next(iter(errors.values()))))
    collected = _collected.get()
    if collected is not None:
        collected.append(missing)
        return
    others = f" (missing: {missing})" if len(errors) > 1 else ""
    raise UserError(f"{missing.reason}{others}") from None
