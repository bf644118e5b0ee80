"""Log set-up: one stream on the terminal, one file, JSON lines for machines."""

from __future__ import annotations

import logging
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import simplejson

from slowfast.utils.reading import require_file
from slowfast.utils.streams import report_lost_output

LOG_NAME = "log.txt"
JSON_PREFIX = "json_stats: "
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FORMAT = "[%(asctime)s %(levelname)s %(name)s] %(message)s"


class _Printable(logging.Formatter):
    """Formatter that escapes control characters, which a terminal obeys; lines stay lines."""

    def format(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", super().format(record))


class _Terminal(logging.Handler):
    """Handler that writes to the current sys.stderr, which a progress line may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


class _LogFile(logging.FileHandler):
    """Log file whose faults are reported once; its lines are lost while its disk is full."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            # A mistake in a call of the logger.
            super().handleError(record)
        elif not self._has_failed:
            self._has_failed = True
            logging.getLogger(__name__).warning(
                "%s cannot be written (%s); the program continues without it",
                self.baseFilename,
                error.strerror,
            )

    def close(self) -> None:
        # What the file still holds may not fit on the disk either.
        with suppress(OSError):
            super().close()


def setup_logging(
    output_dir: Path | None = None, *, quiet: bool = False, name: str = LOG_NAME
) -> None:
    """Send the package's log to stderr and, with `output_dir`, to the file `name` in it.

    quiet: only warnings on the terminal, and no file; for ranks other than 0.

    Raises: UserError if log.txt is a folder, pipe or device; OSError if it cannot be opened.
    """
    root = logging.getLogger("slowfast")
    root.setLevel(logging.DEBUG)
    root.propagate = False
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    terminal = _Terminal()
    terminal.setLevel(logging.WARNING if quiet else logging.INFO)
    handlers: list[logging.Handler] = [terminal]
    if output_dir is not None and not quiet:
        handlers.append(_open_log(output_dir / name))
    for handler in handlers:
        handler.setFormatter(_Printable(_FORMAT, datefmt="%m-%d %H:%M:%S"))
        root.addHandler(handler)
    # Only a file can still show it.
    report_lost_output(root.warning if len(handlers) > 1 else None)


def _open_log(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        require_file(path, "a log", "remove it, or set another OUTPUT_DIR")
    return _LogFile(path, encoding="utf-8")


def reopen_log() -> None:
    """Let the log file, which somebody has removed, begin again with the next line."""
    for handler in logging.getLogger("slowfast").handlers:
        if isinstance(handler, logging.FileHandler):
            handler.close()


def log_to_file(text: str) -> None:
    """Log an error to log.txt only, because the terminal shows it separately."""
    root = logging.getLogger("slowfast")
    record = root.makeRecord(root.name, logging.ERROR, "", 0, text, (), None)
    for handler in root.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def log_json_stats(logger: logging.Logger, stats: dict[str, Any]) -> None:
    """One line `json_stats: {...}`; floats keep six significant digits."""

    def rounded(value: Any) -> Any:
        return float(f"{value:.6g}") if isinstance(value, float) else value

    line = simplejson.dumps({key: rounded(value) for key, value in stats.items()}, ignore_nan=True)
    logger.info("%s%s", JSON_PREFIX, line)
