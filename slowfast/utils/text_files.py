"""Readers of CSV, JSON and YAML files: what they hold, or one error line that names the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from slowfast.utils.errors import UserError
from slowfast.utils.limits import YAML_NODES, Budget
from slowfast.utils.reading import reading, require_file

# UTF-8 with or without a byte-order mark, which spreadsheets write.
_ENCODING = "utf-8-sig"


def csv_rows(path: Path, what: str, fix: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, cells by column) of the rows of a CSV file with a header.

    Raises: UserError for a file that cannot be read, and a row with fewer cells than the header.
    """
    require_file(path, what, fix)
    with reading(path, what, fix), path.open(encoding=_ENCODING, newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            short = [name for name, cell in row.items() if cell is None]
            if short:
                raise UserError(f"{path}: line {reader.line_num} has no cell for {short[0]}; {fix}")
            yield reader.line_num, row


def csv_columns(path: Path, what: str, fix: str) -> list[str]:
    """The names in the header of a CSV file. Raises: UserError as `csv_rows`."""
    require_file(path, what, fix)
    with reading(path, what, fix), path.open(encoding=_ENCODING, newline="") as file:
        return list(csv.DictReader(file).fieldnames or [])


def read_json(path: Path, what: str, fix: str) -> Any:
    """The content of a JSON file. Raises: UserError for a file that cannot be read."""
    require_file(path, what, fix)
    with reading(path, what, fix):
        return json.loads(path.read_text(encoding=_ENCODING))


def read_yaml(path: Path, what: str, fix: str) -> Any:
    """The content of a YAML file. Raises: UserError for a file that cannot be read."""
    require_file(path, what, fix)
    with reading(path, what, fix):
        return parse_yaml(path.read_text(encoding=_ENCODING))


def parse_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises: yaml.YAMLError or ValueError if it is none, RecursionError if it is nested too deeply,
        ValueError if its aliases stand for more than YAML_NODES values, or for themselves.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        # The constructor shares what an alias names, but whoever walks the result does not.
        Budget(YAML_NODES, "values").take(_expanded(root, {}))
        return loader.construct_document(root)
    finally:
        loader.dispose()


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
