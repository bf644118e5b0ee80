"""Every command in the pages names tools and configs that exist, and overrides that load; what the
README claims is what the code and the other pages say.

`make demo`'s parts and the test command are run in tests/end_to_end.
"""

import ast
import json
import re
import shlex
from typing import Any

import cv2
import pytest
import yaml

from slowfast.config import load_config
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.evaluation.reference import published_for
from slowfast.evaluation.tables import format_table
from tests.commands import ROOT
from tests.documented import block, blocks

PAGES = (
    "README.md",
    "data/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
)
MOST_WORDS = 1200
MOST_BYTES = 300 * 1024


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command in a bash block, with its variables filled in."""
    found = []
    for page in PAGES:
        for text in blocks(page, "bash"):
            lines = text.replace("\\\n", " ").splitlines()
            variables = dict(re.findall(r'^(\w+)="?([^"\n]+)"?$', text, re.MULTILINE))
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
    if {"tools/run_net.py", "tools/mine_pairs.py"}.intersection(words) and "--env" not in words:
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
    found = [(page, text) for page in PAGES for text in blocks(page, "python")]
    return [(page, ast.parse(text, page)) for page, text in found if "import " in text]


@pytest.mark.parametrize(("page", "script"), python_scripts())
def test_scripts_import_what_is_there(page, script):
    imports = [part for part in script.body if isinstance(part, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), page, "exec"), {})


def headings(page) -> set[str]:
    """Anchors of a page's headings, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_local_links(page):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", (ROOT / page).read_text()):
        name, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / name if name else ROOT / page
        assert linked.exists(), f"{page} links to {target}"
        assert not anchor or anchor in headings(linked), f"{page} links to {target}"


def readme() -> str:
    return (ROOT / "README.md").read_text()


def test_the_readme_takes_five_minutes():
    assert len(readme().split()) <= MOST_WORDS


def test_it_lists_every_page():
    pages = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if f"](docs/{page})" not in readme()] == []


def test_its_pictures_are_small():
    size = (ROOT / "docs/clips.png").stat().st_size
    assert size < MOST_BYTES
    assert cv2.imread(str(ROOT / "docs/clips.png")).shape[1] == 900
    assert (ROOT / "docs/method.svg").stat().st_size < MOST_BYTES


def shown_results() -> dict[str, Any]:
    """The values of the table that the README shows, as results.json holds them."""
    results: dict[str, Any] = {"num_segments": 144, "intervals": {}}
    cell = r"(-|[\d.]+) +(-|\[[\d., ]+\]) +(-|[\d.]+)"
    table = block("README.md", "text", "verb")
    names = {"both in top 5": "action_both"}
    for title, *row in re.findall(rf"^(\w[\w ]*?) +{cell} +{cell}$", table, re.MULTILINE):
        for metric, (value, interval, chance) in (("top1", row[:3]), ("top5", row[3:])):
            if value != "-":
                key = f"{names.get(title, title)}_{metric}"
                results[key], results[f"chance_{key}"] = float(value), float(chance)
                results["intervals"][key] = json.loads(interval)
    return results


def test_it_shows_the_table_as_a_test_prints_it():
    shown = block("README.md", "text", "verb").splitlines()
    assert shown[-6:] == format_table(shown_results()).splitlines()


def test_what_to_expect_are_the_measured_and_the_published_values():
    results = shown_results()
    row = next(line for line in readme().splitlines() if line.startswith("| `make demo`"))
    assert f"{results['verb_top1']:.1f}, {results['noun_top1']:.1f}" in row
    hundred = {p.model: p.values for p in published_for(9668, (97, 300))}
    for name, text in (("SUM-L", "SUM-L {}, {}"), ("Ego-Exo", "Ego-Exo {}, {}")):
        values = hundred[f"{name}, SlowFast R101"]
        assert text.format(values["verb_top1"], values["noun_top1"]) in readme()
    (r50,) = published_for(2398, (125, 352))
    assert f"Ego-Exo {r50.values['verb_top1']}, {r50.values['noun_top1']}" in readme()
    assert "2.34 GiB a pair" in (ROOT / "docs/scaling.md").read_text()


def test_what_it_says_of_the_ablation_is_in_its_page():
    page = (ROOT / "docs/ablation.md").read_text()
    (paragraph,) = re.findall(r"^`tools/ablate.py PLAN.yaml`.*$", readme(), re.MULTILINE)
    intervals = re.findall(r"[+-][\d.]+ \[[^]]+\]", paragraph)
    assert len(intervals) == 4
    assert [text for text in intervals if text not in page] == []


def test_its_citation_is_that_of_the_citation_file():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    entry = block("README.md", "bibtex", "@inproceedings")
    fields = dict(re.findall(r"^  (\w+) *= \{(.+)\}", entry, re.MULTILINE))
    authors = [f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]]
    assert fields["author"] == " and ".join(authors)
    assert (fields["title"], fields["year"]) == (paper["title"], str(paper["year"]))
    assert fields["booktitle"] == paper["collection-title"]


def test_the_demo_ends_with_pages_that_exist():
    demo = (ROOT / "tools/demo.py").read_text()
    named = re.findall(r'print\("  ([\w/.-]+\.md) ', demo)
    assert len(named) == 2
    assert all((ROOT / name).is_file() for name in named)
