"""The boundary around every parser of a file: a damaged file ends in one clear line."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a named pipe (FIFO)"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
    (stat.S_ISSOCK, "is a socket"),
)


@contextmanager
def reading(path: Path | str, what: str, fix: str = "") -> Iterator[None]:
    """Turn any error of a parser about `path` into one UserError.

    Parsers of foreign formats raise many kinds of exceptions on a damaged file (zlib.error,
    RecursionError, MemoryError, tokenize.TokenError ...), so they cannot all be listed.
    The traceback goes to the log at level DEBUG, where a bug in this code can still be found.

    what: the kind of file, for "cannot read {path} as {what}", for example "a pair table".
    fix: what the user can do, for example "download it again".

    Raises: UserError; one that the body raises itself passes unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        logger.debug("reading %s failed", path, exc_info=True)
        raise UserError(_line(path, what, error, fix)) from error


def is_file(path: Path, what: str) -> bool:
    """Whether `path` is a file. Raises: UserError if it cannot be reached."""
    with reading(path, what):
        return path.is_file()


def require_file(path: Path, what: str, fix: str = "") -> Path:
    """`path`, if it is a regular file; opening a FIFO or a device may wait forever.

    Raises: UserError if it is missing, cannot be reached, or is anything but a regular file.
    """
    with reading(path, what, fix):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "is not a regular file")
        raise UserError(_sentence(f"{path} {kind}, not {what}", fix))
    return path


def found_in_place(path: Path | str, fix: str = "") -> str:
    """Describe the result of a failed download (empty, a web page ...); empty for other content.

    fix: for an empty file.
    """
    try:
        if not Path(path).is_file():
            return ""
        with Path(path).open("rb") as file:
            start = file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    except OSError:
        return ""
    if not start:
        return _sentence("is empty", fix)
    if start.startswith((b"<!doctype html", b"<html")):
        return "is a web page, not the file itself: download the raw file"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of git-lfs: run `git lfs pull`"
    return ""


def _line(path: Path | str, what: str, error: Exception, fix: str) -> str:
    if isinstance(error, FileNotFoundError):
        return _sentence(f"{path}, {what}, does not exist", fix)
    if isinstance(error, OSError) and error.strerror:
        # Of several files, the one that the system names; PyAV names a function there.
        other = error.filename if str(error.filename) not in ("None", str(path)) else ""
        where = f" ({other})" if other else ""
        return _sentence(f"cannot read {path} as {what}: {error.strerror}{where}", fix)
    if found := found_in_place(path, fix):
        return f"{path}, {what}, {found}"
    # A MemoryError often has no text.
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _sentence(f"cannot read {path} as {what}: {reason}", fix)


def _sentence(text: str, fix: str) -> str:
    return f"{text}; {fix}" if fix else text
