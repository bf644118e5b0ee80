"""Every key is explained, and read by something."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from slowfast.config import get_cfg
from slowfast.config.load import leaves
from slowfast.tasks.terms.registry import TERM_REGISTRY

CONFIG = "slowfast/config"


def test_every_key_is_explained(root: Path) -> None:
    """Every key has a comment above it and is declared once."""
    explained: dict[str, bool] = {}
    above = ""
    for line in (root / CONFIG / "defaults.py").read_text().splitlines():
        match = re.match(r"_C\.([A-Z0-9_.]+) = ", line)
        if match is not None and not line.endswith("Section()"):
            assert match[1] not in explained
            explained[match[1]] = above.startswith("# ") and not above.startswith("# ---")
        above = line
    assert list(explained) == [key for key, _ in leaves(get_cfg())]
    assert [key for key, has_comment in explained.items() if not has_comment] == []


def test_every_key_is_read(root: Path) -> None:
    """Some code reads `cfg.SUML.ALIGN.KIND`, or `solver.BASE_LR` with `solver = cfg.SOLVER`."""
    chains = {
        chain
        for folder in ("slowfast", "tools")
        for path in (root / folder).rglob("*.py")
        if path.parent.name != "config" or path.name in ("derived.py", "heads.py", "exo_sources.py")
        for chain in _attribute_chains(path)
    } | {"cfg.HANDOBJ.ENABLE", "cfg.SUML.ENABLE"}  # what `validate_run` acts on
    # Each is read under the key that its term registers.
    chains |= {f"cfg.SUML.WEIGHTS.{key}" for key in TERM_REGISTRY}
    assert [key for key, _ in leaves(get_cfg()) if not _is_read(key, chains)] == []


def test_a_key_that_nothing_reads_is_noticed() -> None:
    assert _is_read("A.B.C", {"cfg.A.B.C"})
    assert _is_read("A.B.C", {"cfg.A.B", "b.C"})
    assert not _is_read("A.B.C", {"cfg.A.B"})
    assert not _is_read("A.B.C", {"cfg.A.B.D", "b.C"})
    assert not _is_read("C", {"cfg.A.C"})


def _is_read(key: str, chains: set[str]) -> bool:
    section, _, name = key.rpartition(".")
    handed_on = bool(section) and f"cfg.{section}" in chains
    return f"cfg.{key}" in chains or (handed_on and any(_is_local(c, name) for c in chains))


def _is_local(chain: str, name: str) -> bool:
    root, _, rest = chain.partition(".")
    return rest == name and root != "cfg"


def _attribute_chains(path: Path) -> set[str]:
    """The longest attribute chains of a file, from `cfg` on where one leads through it."""
    finder = _Chains()
    finder.visit(ast.parse(path.read_text()))
    return finder.found


class _Chains(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            parts.insert(0, inner.id)
            begin = parts.index("cfg") if "cfg" in parts else 0
            self.found.add(".".join(parts[begin:]))
        else:
            self.visit(inner)
