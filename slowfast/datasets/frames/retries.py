"""Retries of reads that fail occasionally, as on a network file system."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_SEC = 0.1
_LONGEST_PAUSE_SEC = 5.0


class Retries:
    """Retries of a read that ends in an OSError, including a missing or a short file.

    The pause before the n-th retry is 0.1 * 2^(n-1) seconds, at most 5. Once all retries of a
    file have failed, later reads of that file are not retried. Nothing else is retried: a file
    that was read to its end but cannot be decoded will not get better.

    count: retries; 0: none, and no pause.
    """

    def __init__(self, count: int = 0, sleep: Callable[[float], object] = time.sleep) -> None:
        self.count = count
        self._sleep = sleep
        self._given_up: set[str] = set()

    def read(self, read: Callable[[], T], file: str) -> T:
        """Return the result of `read`. Raises: as `read`, the OSError of the last attempt."""
        attempt = 0
        while True:
            try:
                return read()
            except OSError as error:
                if not self.wait(attempt, file, error):
                    raise
            attempt += 1

    def wait(self, attempt: int, file: str, error: OSError) -> bool:
        """Pause after failed attempt 0, 1, ...; return whether to try again."""
        if attempt >= self.count or file in self._given_up:
            if self.count:
                self._given_up.add(file)
            return False
        pause = min(_FIRST_PAUSE_SEC * 2**attempt, _LONGEST_PAUSE_SEC)
        logger.warning(
            "%s cannot be read (%s); attempt %d of %d in %g s",
            file,
            error.strerror or error,
            attempt + 2,
            self.count + 1,
            pause,
        )
        self._sleep(pause)
        return True
