"""The package's logger as it was before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def untouched_log() -> Iterator[None]:
    """Changes of the package's logger end with the context."""
    log = logging.getLogger("slowfast")
    handlers, propagate, level = list(log.handlers), log.propagate, log.level
    try:
        yield
    finally:
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)
