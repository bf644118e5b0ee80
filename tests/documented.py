"""Code blocks of the documentation, for tests that run them."""

from __future__ import annotations

import re

from tests.commands import ROOT


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language in a page, a path below the root."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def block(page: str, language: str, holding: str) -> str:
    """The only block of a language that contains the text `holding`."""
    (found,) = (text for text in blocks(page, language) if holding in text)
    return found
