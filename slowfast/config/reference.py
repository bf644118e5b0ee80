"""Reference page of all config keys, made from `defaults.py`: its comments, defaults and bounds.

python -m slowfast.config.reference > docs/config.md
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slowfast.config import defaults
from slowfast.config.load import leaves

_TOP = """# Config keys

<!-- Made by `python -m slowfast.config.reference > docs/config.md`; edit slowfast/config/defaults.py. -->

Every key with its default, the values that it may have, and its meaning. [training.md](training.md#how-a-config-is-read) says how a config is read; keys that depend on each other are checked together before a run starts. "Published" marks the behaviour of the released SUM-L code.
"""  # noqa: E501
_TYPES = {bool: "True or False", str: "text", int: "whole number", float: "number", list: "list"}
# A banner: a line of dashes, the title, a line of dashes.
_RULE = re.compile(r"# -{20,}$")
# The start of an explained value inside a comment: `#   fp32: float32.`
_VALUE = re.compile(r"  (\w+): ")
# What Markdown would take for HTML, outside of backticks.
_HTML = re.compile(r"<(?!br>)(?=[^`]*(?:`[^`]*`[^`]*)*$)")


@dataclass(frozen=True)
class _Entry:
    """A key or a section with the lines of its comment; `title` is set for the first of a group."""

    name: str
    comment: list[str]
    title: str = ""


def reference_page() -> str:
    """The page as Markdown."""
    values = dict(leaves(defaults.get_cfg()))
    lines = [_TOP]
    in_table = False
    for entry in _entries(inspect.getsource(defaults)):
        if entry.title:
            lines += [f"\n## {entry.title}\n"]
            in_table = False
        if entry.name not in values:
            if entry.comment:
                lines += ["", _markdown(entry.comment), ""]
                in_table = False
            continue
        if not in_table:
            lines += ["| key | default | values | meaning |", "|---|---|---|---|"]
            in_table = True
        lines.append(_row(entry, values[entry.name]))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _row(entry: _Entry, value: Any) -> str:
    allowed = defaults.BOUNDS.get(entry.name, _TYPES[type(value)])
    shown = '""' if value == "" else value
    return f"| `{entry.name}` | `{shown}` | {allowed} | {_markdown(entry.comment)} |"


def _entries(source: str) -> Iterator[_Entry]:
    """The assignments to `_C...` in order, each with the comment right above it."""
    lines = source.splitlines()
    banners = {n: lines[n + 1] for n, line in enumerate(lines[:-2]) if _RULE.match(line)}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        above = node.lineno - 1
        first = above
        while first and lines[first - 1].startswith("#") and not _RULE.match(lines[first - 1]):
            first -= 1
        found = [banners.pop(n) for n in sorted(banners) if n < node.lineno]
        title = next((text[2:] for text in found if not _RULE.match(text)), "")
        name = ast.unparse(node.targets[0]).removeprefix("_C.")
        yield _Entry(name, [line[2:] for line in lines[first:above]], title)


def _markdown(comment: list[str]) -> str:
    """The comment as one line: explained values become a list, and pipes are escaped."""
    text = ""
    for line in comment:
        if value := _VALUE.match(line):
            text += f"<br>`{value[1]}`: {line[value.end() :]}"
        else:
            text += f" {line.strip()}"
    return _HTML.sub(r"&lt;", text.strip()).replace("|", r"\|")


if __name__ == "__main__":
    sys.stdout.write(reference_page())
