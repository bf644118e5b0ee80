"""Frames that cannot be read: an error, or the nearest frame in their place (DATA.ON_BAD_FRAME)."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

POLICIES = ("error", "nearest")


class BadFrame(UserError):
    """A frame that is missing or cannot be decoded."""


@contextmanager
def decoding(
    sentence: Callable[[Exception], str], passing: type[Exception] = UserError
) -> Iterator[None]:
    """Turn whatever a decoder raises into BadFrame; no list of its kinds of errors is complete.

    sentence: error -> what is wrong with which file, and the fix.
    passing: a kind of error that passes unchanged, as UserError does.

    Raises: BadFrame.
    """
    try:
        yield
    except (UserError, passing):
        raise
    except Exception as error:
        logger.debug("a frame could not be decoded", exc_info=True)
        raise BadFrame(sentence(error)) from error


class BadFrames:
    """Replacement of unreadable frames; each is logged once per process and counted.

    policy: error (raise an error) or nearest (take the segment's nearest readable frame, the
        earlier of two). The choice depends on the files alone.
    name: name of the data set, for the log.
    """

    def __init__(self, policy: str = "error", name: str = "the data set") -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy is {policy!r}, not one of {POLICIES}")
        self.nearest = policy == "nearest"
        self._name = name
        # Shared, because loader workers add to it.
        self._replaced: Any = multiprocessing.Value("q") if self.nearest else None
        self._told = 0
        self._known: dict[tuple[str, int, int], int] = {}
        self._named: set[str] = set()

    @property
    def replaced(self) -> int:
        """Number of frames replaced so far, in this process and its workers."""
        return int(self._replaced.value) if self.nearest else 0

    def replace(
        self,
        number: int,
        span: tuple[int, int],
        read: Callable[[int], np.ndarray],
        name: Callable[[int], str],
        error: BadFrame,
    ) -> np.ndarray:
        """The replacement for frame `number`, which failed with `error`.

        span: first and last frame number of the segment.
        read: frame number -> frame, or BadFrame. name: frame number -> its file.

        Raises: `error` under the policy `error`; UserError if no frame of the segment can be
            read.
        """
        if not self.nearest:
            raise error
        key = (name(number), *span)
        if key in self._known:
            taken = self._known[key]
            frame = read(taken)
        else:
            taken, frame = _first_readable(number, span, read, error)
            self._known[key] = taken
        with self._replaced.get_lock():
            self._replaced.value += 1
        if key[0] not in self._named:
            self._named.add(key[0])
            logger.warning("%s; DATA.ON_BAD_FRAME nearest uses %s", error, name(taken))
        return frame

    def log_new(self) -> None:
        """Log how many frames were replaced since the last call, if any were."""
        new, self._told = self.replaced - self._told, self.replaced
        if new:
            logger.warning(
                "DATA.ON_BAD_FRAME nearest: %d frame(s) of %s were replaced (%d so far)",
                new,
                self._name,
                self._told,
            )


def _first_readable(
    number: int, span: tuple[int, int], read: Callable[[int], np.ndarray], error: BadFrame
) -> tuple[int, np.ndarray]:
    for candidate in _outwards(number, *span):
        try:
            return candidate, read(candidate)
        except BadFrame:
            continue
    raise UserError(f"no frame of the segment can be read; the first: {error}") from error


def _outwards(number: int, first: int, last: int) -> Iterator[int]:
    """The other numbers from `first` to `last`, nearest first; of two, the smaller first."""
    for distance in range(1, max(number - first, last - number) + 1):
        for candidate in (number - distance, number + distance):
            if first <= candidate <= last:
                yield candidate
