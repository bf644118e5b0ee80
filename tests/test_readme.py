"""Every command in the README names tools and configs that are there, and overrides that load.

`make demo`'s parts and the test command are run in tests/end_to_end.
"""

import ast
import re
import shlex

import pytest

from slowfast.config import load_config
from slowfast.engine.preflight.run_rules import validate_run
from tests.commands import ROOT

PAGES = (
    *("README.md", "data/README.md", "docs/evaluation.md", "docs/benchmarks.md"),
    *("docs/reliability.md", "docs/scaling.md", "docs/ablation.md", "docs/data.md"),
)


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command in a bash block, with its variables filled in."""
    found = []
    for page in PAGES:
        if not (ROOT / page).is_file():
            continue
        for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            variables = dict(re.findall(r'^(\w+)="?([^"\n]+)"?$', block, re.MULTILINE))
            variables.setdefault(
                "CFG", "configs/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"
            )
            for line in lines:
                for name, value in variables.items():
                    line = line.replace(f"${name}", value)
                words = shlex.split(line, comments=True)
                if words and "=" not in words[0]:
                    found.append((page, words))
    return found


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda x: str(x)[:60])
def test_tools_and_configs(page, words):
    for word in words:
        if re.fullmatch(r"tools/\w+\.py|configs/\S+\.yaml", word):
            assert (ROOT / word).is_file(), f"{page} names {word}"
    if "tools/run_net.py" in words or "tools/mine_pairs.py" in words:
        start = words.index("--cfg")
        overrides = words[start + 2 :]
        if overrides and overrides[0].startswith("--"):
            overrides = []
        validate_run(load_config(ROOT / words[start + 1], overrides))


def test_make_targets():
    makefile = (ROOT / "Makefile").read_text()
    for page, words in commands():
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile, f"{page} names make {words[1]}"


def python_scripts() -> list[tuple[str, ast.Module]]:
    """(page, content) of every Python block that imports what it uses; others are sketches."""
    blocks = [
        (page, block)
        for page in PAGES
        for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    ]
    return [(page, ast.parse(block, page)) for page, block in blocks if "\nimport " in block]


@pytest.mark.parametrize(("page", "script"), python_scripts())
def test_scripts_import_what_is_there(page, script):
    imports = [part for part in script.body if isinstance(part, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), page, "exec"), {})


def test_local_links():
    for page in PAGES:
        if not (ROOT / page).is_file():
            continue
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"
