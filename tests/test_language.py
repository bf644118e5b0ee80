"""Plain English: the rate of odd constructions over the whole repository, and its counter."""

import subprocess
import sys

import pytest

from tests.commands import ROOT
from tests.language import CONSTRUCTIONS, count_words, find_hits, measure, passages, project_files

# Hits per 1,000 words; never raise it.
BOUND = 0.2

ODD = {
    "goes on": (
        "The run goes on from the newest checkpoint.",
        "Training went on.",
        "the worker goes on reading",
        "a run that is still going",
        "no child lives on.",
        "going on from it",
    ),
    "hands on": ("the signal is handed on", "it hands them on to its processes"),
    "of its own": ("a state of its own", "names of their own"),
    "without a word": ("dies without a word", "waits without end"),
    "in turns": ("both are timed in turns",),
    "as ever": ("joins them as ever",),
    "is told": ("Missing GPUs are told.", "a mistake, told at the next line"),
    "passed over": ("Damaged files are passed over.", "text to pass over"),
    "beside": ("written beside the list", "the queue, kept beside it"),
    "lies": ("The file lies in the folder.", "where frames lie.", "ids must lie below"),
    "stands": ("Every key stands in the file.", "it stands at the end", "stands twice"),
    "that there is": ("the first that there is.", "those that there are, in order"),
    "what there is": ("what there is, is taken", "what else there is"),
    "is none of": ("the name is none of the known ones",),
    "is no ...": ("x is no file", "these are no negatives of each other"),
    "but for": ("all of them, but for the counters", "all but those of batch norm"),
    "so many": ("the last so many clips",),
    "is not here": ("the head is not here",),
    "for ever": ("0 waits for ever",),
    "anew": ("starts anew",),
    "mend": ("and how to mend it", "a review's mends", "once mended"),
    "behind": ("behind the weights", "one behind the other", "-1 behind the last one"),
    "under way": ("the step under way",),
    "made (a step)": ("when the step is made", "of the step just made"),
    "a training": ("before a training or a test", "of another training.", "two trainings"),
    "in vain": ("waited for in vain",),
    "way of data": ("the way of a batch between processes",),
}

PLAIN = (
    "The run resumes from the newest checkpoint and continues.",
    "Move on to the next step, which goes on the GPU; the worker keeps reading.",
    "a data set of your own; on the other hand on time; in turn",
    "A training clip, a training or validation list; after training, and in distributed training.",
    "What is going on here?",
    "Ranks are told apart by their number, and told to stop.",
    "One pass over the list; several passes over the frames.",
    "besides, side by side",
    "The threshold lies between 0 and 1, and the point lies in [0, 1).",
    "TEST stands for the first command; a stand-in stands in for the encoder.",
    "The person stands next to the table.",
    "Note that there is a file, and that there are no others.",
    "If there is one, there is no more to do.",
    "None of them is read. It is no longer needed and is no more than 3.",
    "Where there is no pair, there are no negatives.",
    "Not for training, but for the test. He waited, but the file came.",
    "There are so many files that a folder is slow.",
    "It is here. Forever is a long time, and every run ends.",
    "Amend the commit. Recommended.",
    "Killed writers leave files behind, left a lock behind, or put it behind a key.",
    "The sums behind the next log line; 60 seconds behind.",
    "A step is made of three parts. The crop is made once.",
    "One-way loss, in the same way, on the way out.",
)


@pytest.mark.parametrize("name", [c.name for c in CONSTRUCTIONS if not c.docstrings_only])
def test_every_construction_is_found(name):
    for text in ODD[name]:
        assert name in {hit.construction.name for hit in find_hits("a.md", text)}, text


@pytest.mark.parametrize("text", PLAIN)
def test_plain_english_is_not_counted(text):
    assert [str(hit) for hit in find_hits("a.md", text)] == []


def test_titles_of_docstrings():
    source = '"""{} a file holds."""\nx = "{} a file holds"\n'
    for word in ("What", "How", "That", "Those", "Which", "Who", "Where"):
        (hit,) = find_hits("a.py", source.format(word, word))
        assert (hit.line, hit.construction.name) == (1, "clause as title")
    for word in ("Whether", "Content that", "How many bytes"):
        assert find_hits("a.py", source.format(word, word)) == []


def lines(name: str, source: str) -> list[int]:
    return [hit.line for hit in find_hits(name, source)]


PYTHON = '''"""Title.

A run that
goes on in line 4.
"""
# A comment that goes
# on in its next line: 6.
x = goes(on)  # starts anew: 8
log.info(
    "the run goes "
    f"on with {step.mend} at {beside!r}",  # the string: 10
)
raise UserError(f"{path} is no file", "anew", anew["mend it"])
name = "anew"
'''


def test_python_text_and_its_lines():
    assert lines("a.py", PYTHON) == [4, 6, 8, 10, 13, 13]


def test_names_of_parameters_and_code_in_backticks_do_not_count():
    source = '"""Plan.\n\n    beside: `anew` and ``mend it``.\n    mend, anew: names.\n    """\n'
    assert find_hits("a.py", source) == []
    assert count_words(passages("a.py", source)) == 3


MARKDOWN = """# The step under way

[text](docs/anew.md) and `anew`, https://x.org/anew

```bash
make anew   # starts anew: 6
```

```python
"it goes on"
```

| it | goes on |
"""


def test_markdown_text_and_comments_of_its_code():
    assert lines("a.md", MARKDOWN) == [1, 6, 13]


YAML = """# It lies in
# the folder.
ANEW: anew
KEY: [anew, 1]   # starts anew: 4
about: clips that are no negatives
steps:
  - label: |
      The run
      goes on from there.
"""


def test_yaml_comments_and_values():
    assert lines("a.yaml", YAML) == [1, 4, 5, 9]
    assert lines("Makefile", YAML) == [1, 4]


def test_every_kind_of_file_is_counted():
    names = {str(path.relative_to(ROOT)) for path in project_files()}
    assert {
        *("README.md", "data/README.md", "docs/parity.md", "Makefile", ".ci/run"),
        *("slowfast/config/defaults.py", "tools/run_net.py", "tests/conftest.py"),
        *("configs/_base_/suml.yaml", "tools/slurm/train.sbatch", "pyproject.toml"),
    } <= names
    assert not [name for name in names if ".venv" in name or name.endswith("language.py")]


def test_rate_of_the_repository():
    _, rates = measure(project_files())
    worst = sorted(rates, key=lambda group: -rates[group].hits)[1:4]
    assert rates["total"].words > 50_000
    assert rates["total"].per_thousand <= BOUND, (
        f"{rates['total'].per_thousand:.2f} odd constructions per 1,000 words, most of them in"
        f" {', '.join(worst)}; `python -m tests.language PATH` lists them"
    )


def test_report():
    ended = subprocess.run(
        [sys.executable, "-m", "tests.language", "tools"], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith("total ")
