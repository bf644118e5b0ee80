"""Links from tables of runs to the HTML pages about them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# Written into a run's folder by tools/report.py.
REPORT_NAME = "report.html"


def report_links(runs: Iterable[tuple[str, Path]], seen_from: Path = Path()) -> list[str]:
    """Markdown links `[report of NAME](PATH)` to the pages that exist.

    runs: name and folder of each. seen_from: folder of the text with the links; the default is
        for a text that is printed, with paths as they were given.
    """
    pages = [(name, folder / REPORT_NAME) for name, folder in runs]
    return [
        f"[report of {name}]({_target(page, seen_from)})" for name, page in pages if page.is_file()
    ]


def _target(page: Path, seen_from: Path) -> str:
    """The path as a link; angle brackets keep spaces and parentheses in it."""
    text = str(page) if seen_from == Path() else os.path.relpath(page, seen_from)
    return f"<{text}>" if set(text) & set(" ()") else text
