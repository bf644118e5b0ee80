"""The reference page of the config keys."""

import re

from slowfast.config.defaults import BOUNDS, get_cfg
from slowfast.config.load import leaves
from slowfast.config.reference import reference_page
from tests.commands import ROOT


def rows() -> dict[str, list[str]]:
    """Key -> cells of its row: default, values, meaning."""
    lines = re.findall(r"^\| `([\w.]+)` (\|.*) \|$", reference_page(), re.MULTILINE)
    return {key: re.split(r" ?(?<!\\)\| ", cells)[1:] for key, cells in lines}


def test_the_committed_page_is_up_to_date():
    fix = "`python -m slowfast.config.reference > docs/config.md` updates docs/config.md"
    assert (ROOT / "docs" / "config.md").read_text() == reference_page(), fix


def test_every_key_is_explained_in_the_order_of_its_declaration():
    found = rows()
    assert list(found) == [key for key, _ in leaves(get_cfg())]
    assert all(len(cells) == 3 and all(cells) for cells in found.values())


def test_a_row_has_default_values_and_meaning():
    found = rows()
    default, values, meaning = found["SUML.PAIRS.INDEX"]
    assert default == "`exact`"
    assert values == str(BOUNDS["SUML.PAIRS.INDEX"]) == "one of exact, ivf"
    assert meaning.startswith("How the nearest narrations are searched.<br>`exact`: all of them")
    assert found["TRAIN.BEST_METRIC"][0] == '`""`'
    assert "head&lt;TASK>" in found["TRAIN.CHECKPOINT_HEAD"][2]
    assert "`head<TASK>" in found["TASK"][2]


def test_sections_have_their_titles_and_comments():
    page = reference_page()
    titles = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert titles[:3] == ["Run: processes and outputs", "Training", "Testing"]
    assert "\nWeights of the loss terms in slowfast/tasks/terms, each under" in page
