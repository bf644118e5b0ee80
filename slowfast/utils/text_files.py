"""Readers of text, CSV, JSON and YAML files, with one error line that names the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from slowfast.utils.errors import UserError
from slowfast.utils.limits import YAML_NODES, Budget
from slowfast.utils.reading import found_in_place, reading, require_file

# UTF-8 with or without a byte-order mark, which spreadsheets write.
_ENCODING = "utf-8-sig"


def check_csv(path: Path, what: str, fix: str) -> None:
    """Recognise other content that is often saved as a CSV file.

    Raises: UserError for a web page, a pointer of git-lfs, a spreadsheet or archive, a file with
        other separators than commas, and for an empty one.
    """
    require_file(path, what, fix)
    with reading(path, what, fix), path.open("rb") as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf")
    first, _, _ = start.partition(b"\n")
    found = found_in_place(path, fix)
    if found:
        pass
    elif start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"<?xml")):
        found = "is a spreadsheet or an archive: unpack it, or save it as CSV with commas"
    elif start.startswith((b"\xff\xfe", b"\xfe\xff")):
        found = "is text in UTF-16: save it as CSV in UTF-8"
    elif first.lower().startswith(b"sep="):
        found = "begins with the line sep= of a spreadsheet: remove that line"
    elif b"," not in first:
        for separator, name in ((b";", "semicolons"), (b"\t", "tabs")):
            if first.count(separator) > 1:
                found = f"is separated by {name}: save it with commas"
    if found:
        raise UserError(f"{path}, {what}, {found}")


def csv_rows(path: Path, what: str, fix: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column) of the rows of a CSV file with a header.

    Raises: UserError for a file that cannot be read, and a row with fewer cells than the header.
    """
    check_csv(path, what, fix)
    with reading(path, what, fix), path.open(encoding=_ENCODING, newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            short = [name for name, cell in row.items() if cell is None]
            if short:
                raise UserError(f"{path}: line {reader.line_num} has no cell for {short[0]}; {fix}")
            yield reader.line_num, row


def csv_columns(path: Path, what: str, fix: str) -> list[str]:
    """The names in the header of a CSV file. Raises: UserError as `csv_rows`."""
    check_csv(path, what, fix)
    with reading(path, what, fix), path.open(encoding=_ENCODING, newline="") as file:
        return list(csv.DictReader(file).fieldnames or [])


def text_lines(path: Path, what: str, fix: str) -> list[str]:
    """The lines of a text file in UTF-8. Raises: UserError for a file that cannot be read."""
    require_file(path, what, fix)
    if found := found_in_place(path, fix):
        raise UserError(f"{path}, {what}, {found}")
    with reading(path, what, fix):
        return path.read_text(encoding=_ENCODING).splitlines()


def read_json(path: Path, what: str, fix: str) -> Any:
    """The content of a JSON file. Raises: UserError for a file that cannot be read."""
    require_file(path, what, fix)
    with reading(path, what, fix):
        return json.loads(path.read_text(encoding=_ENCODING))


def read_yaml(path: Path, what: str, fix: str) -> Any:
    """The content of a YAML file. Raises: UserError for a file that cannot be read."""
    require_file(path, what, fix)
    with reading(path, what, fix):
        content = parse_yaml(path.read_text(encoding=_ENCODING))
    if isinstance(content, str) and (found := found_in_place(path, fix)):
        raise UserError(f"{path}, {what}, {found}")
    return content


def parse_yaml(text: str) -> Any:
    """The content of a YAML text.

    A key that is given twice is refused, also once as `A.B` and once as B in the section A.

    Raises: yaml.YAMLError or ValueError if it is none, RecursionError if it is nested too deeply,
        ValueError if its aliases stand for more than YAML_NODES values, or for themselves.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        # The parser shares aliased nodes, but code that walks the result visits each copy.
        Budget(YAML_NODES, "values").take(_expanded(root, {}))
        _check_keys(root, "", {})
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _check_keys(node: yaml.Node, section: str, lines: dict[str, int]) -> None:
    """Raises: ValueError for a key that is given twice. lines: by dotted key, those seen so far."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name, line = f"{section}{key.value}", key.start_mark.line + 1
        if name in lines:
            raise ValueError(
                f"the key {name} is given twice, in lines {lines[name]} and {line}; keep one"
            )
        lines[name] = line
        # An alias repeats what it names under another key.
        _check_keys(value, f"{name}.", lines)


def _expanded(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Nodes below a node if each alias were written out. sizes: those known, by id."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise ValueError("an alias is part of what it stands for")
        return sizes[id(node)]
    sizes[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    sizes[id(node)] = 1 + sum(_expanded(child, sizes) for child in children)
    return sizes[id(node)]
