"""Standard output and error that never end a command: output that cannot be written is lost.

The reader of a pipe ends (`| head`), the disk under `tee` is full, a terminal closes: Python
raises at each of these, in the middle of a run. Here the first fault of a stream is reported
(that of standard error in the log) and the stream is silent from then on.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

# Called with the message that standard error is lost.
Report = Callable[[str], None]

_OUTPUT, _ERROR = "standard output", "standard error"

_pending: list[str] = []
_report: Report | None = None


def report_lost_output(report: Report | None) -> None:
    """Report the loss of standard error to `report`, including one that has happened already.

    None keeps it for the next call.
    """
    global _report
    _report = report
    while report is not None and _pending:
        report(_pending.pop())


class TolerantStream:
    """A text stream that reports its first fault and then writes nothing.

    fault: why the output was lost; None while it works.
    """

    def __init__(self, stream: TextIO, name: str, fault: OSError | None = None) -> None:
        self._stream = stream
        self._name = name
        self.fault = fault

    def write(self, text: str) -> int:
        """Write or drop the text; returns its length."""
        if self.fault is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Flush, unless the output is lost."""
        if self.fault is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError) -> None:
        self.fault = error
        _to_null(self._stream)
        _lost(self._name, error)


@contextmanager
def tolerant_streams() -> Iterator[TolerantStream]:
    """Context manager with tolerant standard streams; yields standard output.

    Descriptors 0 to 2 that were closed at the start are opened on /dev/null: otherwise the next
    file that the command opens would get such a number, and with it the messages of libraries.
    """
    closed = _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    streams = [
        TolerantStream(stream or _null_file(), name, closed.get(number))
        for number, (stream, name) in enumerate(
            zip(before, (_OUTPUT, _ERROR), strict=True), start=1
        )
    ]
    output, error = streams
    sys.stdout, sys.stderr = output, error
    if error.fault is not None:
        _lost(_ERROR, error.fault)
    try:
        yield output
    finally:
        output.flush()
        error.flush()
        sys.stdout, sys.stderr = before


def reader_left(fault: OSError | None) -> bool:
    """Whether the output was lost because its reader has closed it, or never existed."""
    return fault is not None and fault.errno in (errno.EPIPE, errno.EBADF)


def _lost(name: str, error: OSError) -> None:
    text = f"{name} is lost from here on ({error.strerror}); the program continues"
    if name == _OUTPUT:
        if not reader_left(error):
            sys.stderr.write(f"{text}\n")
    elif _report is None:
        _pending.append(text)
    else:
        _report(text)


def _open_closed_descriptors() -> dict[int, OSError]:
    """Open those of 0 to 2 that are closed; the errors by descriptor."""
    closed = {}
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError as error:
            closed[descriptor] = error
            # The lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    return closed


def _to_null(stream: TextIO) -> None:
    """Redirect the stream's descriptor to /dev/null, for buffered output and for C code."""
    # Streams in memory have no descriptor.
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)


def _null_file() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
