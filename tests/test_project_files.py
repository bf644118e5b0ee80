"""Project files: contributing guide, changelog, citation, hooks, CI and templates."""

import ast
import re
import shlex
import subprocess
from datetime import date
from pathlib import Path

import pytest
import yaml

from slowfast.config import load_config
from tests.commands import ROOT

FORMS = ("bug", "question", "data")


def read(name: str) -> str:
    return (ROOT / name).read_text()


def setup_version() -> str:
    (call,) = (
        node
        for node in ast.walk(ast.parse(read("setup.py")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"
    )
    return next(ast.literal_eval(word.value) for word in call.keywords if word.arg == "version")


def make_recipe(target: str) -> list[str]:
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    return [line.strip().removeprefix("$(BIN)/") for line in recipe[1].splitlines()]


def hooks() -> dict[str, dict]:
    (repo,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    return {hook["id"]: hook for hook in repo["hooks"]}


def test_changelog_has_the_versions_in_order():
    headings = re.findall(r"^## \[(.+?)\](?: - (.+))?$", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    versions, days = zip(*headings[1:], strict=True)
    assert versions[0] == setup_version()
    assert list(days) == sorted(days, reverse=True)
    assert all(date.fromisoformat(day) for day in days)


def test_changelog_has_the_usual_sections():
    sections = set(re.findall(r"^### (.+)$", read("CHANGELOG.md"), re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_citation_is_the_paper():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == setup_version()
    paper = citation["preferred-citation"]
    assert [author["family-names"] for author in paper["authors"]] == [
        *("Wang", "Zhao", "Yuan", "Liu", "Peng")
    ]
    assert (paper["year"], paper["type"]) == (2023, "conference-paper")
    assert "2308.11489" in paper["url"]
    assert "2308.11489" in read("README.md")


def test_hooks_check_the_same_as_make_lint():
    commands = [
        re.search(r"exec (.+)'$", hook["entry"])[1]
        for name, hook in hooks().items()
        if name != "versions"
    ]
    assert commands == make_recipe("lint")


@pytest.mark.parametrize("ruff", ["1.2.3", "1.2.4"])
def test_hooks_refuse_other_versions(tmp_path, ruff):
    (tmp_path / "requirements-dev.txt").write_text("ruff==1.2.3\nmypy==2.0\npandas-stubs\n")
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, output in (("ruff", f"ruff {ruff}"), ("mypy", "mypy 2.0 (compiled: yes)")):
        (tools / name).write_text(f"#!/bin/sh\necho '{output}'\n")
        (tools / name).chmod(0o755)
    command = shlex.split(hooks()["versions"]["entry"])
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode == 0) == (ruff == "1.2.3"), ended.stdout
    assert (f"> ruff=={ruff}" in ended.stdout) == (ruff != "1.2.3")


def test_linters_are_pinned():
    """The hook compares with these lines."""
    pins = re.findall(r"^(ruff|mypy)==[\d.]+$", read("requirements-dev.txt"), re.MULTILINE)
    assert sorted(pins) == ["mypy", "ruff"]


def test_workflow_runs_what_a_change_must_pass():
    (job,) = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"].values()
    steps = job["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[:2] == [".ci/run", "make docs"]
    assert "3.11" in [step.get("with", {}).get("python-version") for step in steps]
    assert read(".ci/run").splitlines()[-2:] == ["make lint", "make test"]


def test_the_site_has_every_page_and_refuses_broken_links():
    site = yaml.safe_load(read("mkdocs.yml"))
    listed = []
    for entry in site["nav"]:
        for content in entry.values() if isinstance(entry, dict) else [entry]:
            listed += content if isinstance(content, list) else [content]
    # The README is the first page.
    assert sorted(listed) == sorted(["index.md", *(p.name for p in (ROOT / "docs").glob("*.md"))])
    assert set(site["validation"].values()) == {"warn"}
    assert make_recipe("docs")[-1].endswith("mkdocs build --strict")


def test_the_tools_of_the_site_are_pinned_within_the_extra():
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", read("requirements-docs.txt"), re.MULTILINE))
    ranges = re.search(r'"docs": \[(.+)\]', read("setup.py"))[1]
    assert pins.keys() == set(re.findall(r'"([\w-]+)>=', ranges))


@pytest.mark.parametrize("name", FORMS)
def test_issue_forms(name):
    form = yaml.safe_load(read(f".github/ISSUE_TEMPLATE/{name}.yml"))
    assert form["name"]
    assert form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in fields)
    (environment,) = (field for field in fields if field["id"] == "environment")
    assert "tools/run_net.py --env" in environment["attributes"]["description"]
    required = environment.get("validations", {}).get("required", False)
    assert required == (name == "bug")


def test_every_template_is_a_form_of_the_list():
    found = {path.stem for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")}
    assert found == {*FORMS, "config"}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_and_names_of_files(page):
    links = set(re.findall(r"\]\((?!http)([^)#]+)\)", read(page)))
    assert [link for link in links if not (ROOT / link).exists()] == []
    named = re.findall(r"`((?:slowfast|tools|configs|tests|docs|\.ci)/[\w/.-]+)`", read(page))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_commands_of_the_contributing_guide():
    blocks = re.findall(r"^ *```bash\n(.*?)```", read("CONTRIBUTING.md"), re.DOTALL | re.MULTILINE)
    commands = [shlex.split(line, comments=True) for block in blocks for line in block.split("\n")]
    targets = [words[1] for words in commands if words[:1] == ["make"]]
    assert targets == ["dev", "demo", "test", "lint"]
    assert all(f"\n{target}:" in read("Makefile") for target in targets)
    (run,) = (words for line in commands for words in line if words.startswith("RUN="))
    tool, option, config, *overrides = run.removeprefix("RUN=").split()
    assert Path(ROOT, tool).is_file()
    assert option == "--cfg"
    cfg = load_config(str(ROOT / config), overrides)
    assert (cfg.NUM_GPUS, cfg.SOLVER.MAX_EPOCH, cfg.TEST.ENABLE) == (0, 1, False)
