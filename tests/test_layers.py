"""Imports of the package: no module imports from a layer above its own, and none in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# From the top. Folders of one layer may not import each other, except where `_WITHIN` says so.
LAYERS = (
    ("lab", "report"),
    ("inference",),
    ("engine",),
    ("tasks", "semantics"),
    ("models", "datasets"),
    ("losses", "evaluation", "config", "utils"),
)
# The last layer has an inner order: errors and registries below the config tree.
_WITHIN = {
    ("config", "utils"),
    ("evaluation", "utils"),
    ("evaluation", "config"),
    ("losses", "utils"),
}
_RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}


@pytest.fixture(scope="module")
def imports(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports when it is imported itself."""
    files = {_module(path, root): path for path in (root / "slowfast").rglob("*.py")}
    return {name: set(_imported(path, files)) for name, path in files.items()}


def test_no_module_imports_upward(imports: dict[str, set[str]]) -> None:
    upward = [
        f"{module} imports {other}"
        for module, others in imports.items()
        for other in others
        if not _allowed(_folder(module), _folder(other))
    ]
    assert upward == []


def test_no_circle(imports: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


def _allowed(folder: str, other: str) -> bool:
    if folder == other or "" in (folder, other):
        return True
    if other not in _RANK or folder not in _RANK:
        return False
    return _RANK[folder] < _RANK[other] or (folder, other) in _WITHIN


def _folder(module: str) -> str:
    """`engine` of `slowfast.engine.step.update`; empty for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (n if n in modules else node.module for n in names if _ours(node.module))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _ours(alias.name))


def _ours(module: str) -> bool:
    return module.split(".")[0] == "slowfast"
