"""Log set-up: one stream on the terminal, one file, JSON lines for machines."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import simplejson

LOG_NAME = "log.txt"
JSON_PREFIX = "json_stats: "
_FORMAT = "[%(asctime)s %(levelname)s %(name)s] %(message)s"


class _Terminal(logging.Handler):
    """Handler that writes to the current sys.stderr, which a progress line may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


def setup_logging(
    output_dir: Path | None = None, *, quiet: bool = False, name: str = LOG_NAME
) -> None:
    """Send the package's log to stderr and, with `output_dir`, to the file `name` in it.

    quiet: only warnings on the terminal, and no file; for ranks other than 0.
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
        output_dir.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(output_dir / name, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%m-%d %H:%M:%S"))
        root.addHandler(handler)


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
