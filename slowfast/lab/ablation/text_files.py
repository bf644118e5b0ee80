"""Writes text files whole or not at all."""

from __future__ import annotations

from pathlib import Path

from slowfast.utils.files import write_atomically


def write_text(path: Path, text: str) -> None:
    """UTF-8, under a temporary name first."""
    write_atomically(path, lambda file: file.write(text.encode()))
