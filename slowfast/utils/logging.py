"""Log set-up: the terminal, a log file, and a file of JSON lines for programs.

Numbers (`log_json_stats`) are a readable line on a terminal, and JSON everywhere else: after
`json_stats: ` in log.txt and in piped output, alone in metrics.jsonl.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import simplejson

from slowfast.utils.reading import require_file
from slowfast.utils.stats_line import stats_line
from slowfast.utils.stats_table import StatsTable, period_row, terminal_columns
from slowfast.utils.streams import report_lost_output

LOG_NAME = "log.txt"
METRICS_NAME = "metrics.jsonl"
JSON_PREFIX = "json_stats: "
# Attribute of a record (`extra`) that a terminal leaves out, because the lines about a run
# there say the same.
IN_SUMMARY = "in_summary"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FORMAT = "[%(asctime)s %(levelname)s %(name)s] %(message)s"


class _Printable(logging.Formatter):
    """Formatter that escapes control characters, which a terminal obeys; lines stay lines."""

    def format(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", super().format(record))


class _ForPeople(_Printable):
    """Formatter for a terminal: numbers on one line, paths relative to here or to home."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", datefmt="%H:%M:%S")
        self._table = StatsTable()
        self._short: dict[str, str] = {}
        # The user has no home folder, or the current folder was removed.
        with suppress(OSError, RuntimeError):
            self._short[f"{Path.cwd()}/"] = ""
            self._short[f"{Path.home()}/"] = "~/"

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if hasattr(record, IN_SUMMARY):
            return ""
        if stats := getattr(record, "stats", None):
            if stats.get("_type") == "train_iter":
                return self._period({**stats, **record.__dict__["shown"]}, record)
            text = stats_line({**stats, **record.__dict__["shown"]})
            if not text:
                return ""
        if record.levelno > logging.INFO:
            text = f"{record.levelname.lower()}: {text}"
        for long, short in self._short.items():
            # Not in the middle of a longer path.
            text = re.sub(rf"(?<![\w./~-]){re.escape(long)}", short, text)
        shown = logging.makeLogRecord({**record.__dict__, "msg": text, "args": ()})
        return super().format(shown)

    def _period(self, stats: Mapping[str, Any], record: logging.LogRecord) -> str:
        row = period_row(stats, record.__dict__["losses"])
        return "\n".join(self._table.lines(row, terminal_columns()))


class _Terminal(logging.Handler):
    """Handler that writes to the current sys.stderr, which a progress line may have replaced."""

    def __init__(self) -> None:
        super().__init__()
        self._for_people = _ForPeople()

    def emit(self, record: logging.LogRecord) -> None:
        text = self._for_people.format(record) if sys.stderr.isatty() else self.format(record)
        if text:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class _LogFile(logging.FileHandler):
    """Log file that reports a write error once; lines are lost while the disk is full."""

    _has_failed = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:
            # Python opens a delayed file outside the protection of `handleError`.
            self.handleError(record)

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
        # The buffered rest may not fit on the disk either.
        with suppress(OSError):
            super().close()


class _Metrics(logging.Formatter):
    """Formatter of the numbers of a record, as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        return _json(record.__dict__["stats"])


def setup_logging(
    output_dir: Path | None = None, *, quiet: bool = False, name: str = LOG_NAME
) -> None:
    """Send the package's log to stderr and, with `output_dir`, to the file `name` in it.

    Numbers also go to metrics.jsonl; those of a test (test_log.txt) go to test_metrics.jsonl.

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
    if output_dir is not None and not quiet:
        metrics = _open_log(output_dir / name.replace(LOG_NAME, METRICS_NAME), delay=True)
        metrics.setFormatter(_Metrics())
        metrics.addFilter(lambda record: hasattr(record, "stats"))
        handlers.append(metrics)
    for handler in handlers:
        root.addHandler(handler)
    # Only the log file can still report it.
    report_lost_output(root.warning if len(handlers) > 1 else None)


def _open_log(path: Path, delay: bool = False) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        require_file(path, "a log", "remove it, or set another OUTPUT_DIR")
    return _LogFile(path, encoding="utf-8", delay=delay)


def reopen_log() -> None:
    """Start the log file again with the next line after it was removed."""
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


def log_json_stats(
    logger: logging.Logger,
    stats: dict[str, Any],
    *,
    shown: Mapping[str, Any] | None = None,
    losses: Sequence[str] = (),
) -> None:
    """One line `json_stats: {...}`; floats keep six significant digits.

    shown: numbers for a terminal only. losses: names of the numbers that are loss terms.
    """

    def rounded(value: Any) -> Any:
        return float(f"{value:.6g}") if isinstance(value, float) else value

    stats = {key: rounded(value) for key, value in stats.items()}
    extra = {"stats": stats, "shown": shown or {}, "losses": losses}
    logger.info("%s%s", JSON_PREFIX, _json(stats), extra=extra)


def _json(stats: dict[str, Any]) -> str:
    return str(simplejson.dumps(stats, ignore_nan=True))
