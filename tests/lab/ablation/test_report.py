"""The tables of a small comparison."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from slowfast.lab.ablation.figure import draw_figure
from slowfast.lab.ablation.outcomes import ArmOutcome, Outcomes
from slowfast.lab.ablation.plan import read_plan
from slowfast.lab.ablation.report import as_json, compare, csv_rows, latex, markdown, write_report
from slowfast.lab.ablation.runs import plan_runs
from slowfast.lab.ablation.statistics import Difference, paired_difference
from slowfast.utils.files import write_json

HITS = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]], bool)
NONE = np.zeros_like(HITS)


def outcome(hits, *seeds) -> ArmOutcome:
    return ArmOutcome(seeds, {"verb": hits, "noun": ~hits, "action": NONE[: len(hits)]})


@pytest.fixture
def plan(plan_file, content):
    content["arms"]["better"]["about"] = "more & _better_"
    return read_plan(plan_file())


@pytest.fixture
def outcomes():
    """`better` has seeds 2 and 1, `plain` 1 and 2; the last two segments are unseen."""
    seen = np.array([1, 1, 0, 0], bool)
    subsets = {"all": np.ones(4, bool), "seen": seen, "unseen": ~seen}
    arms = {"plain": outcome(HITS[:2], 1, 2), "better": outcome(HITS[[2, 1]], 2, 1)}
    return Outcomes(arms, subsets)


def gain(comparison, kind="verb", subset="all") -> Difference:
    """The difference of `better` to `plain`."""
    values = comparison.values.set_index(["arm", "reference", "subset", "kind"])
    row = values.loc["better", "plain", subset, kind]
    return Difference(row.value, row.low, row.high, row.seeds)


def differences(comparison) -> pd.DataFrame:
    return comparison.values[comparison.values.reference != ""]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_seeds_are_paired_by_their_number(plan, outcomes):
    """Seed 1: 2 against 1 of 4 verbs; seed 2: 3 against 2. The arms have their seeds in other
    orders; paired by position the gains would be 50 and 0, with a wider interval."""
    found = gain(compare(plan, outcomes, resamples=50))
    assert found.value == pytest.approx(25.0)
    assert found.seeds == 2
    assert found == paired_difference(HITS[[1, 2]], HITS[[0, 1]], resamples=50)
    assert found != paired_difference(HITS[[2, 1]], HITS[[0, 1]], resamples=50)


def test_a_difference_is_over_the_seeds_of_both(plan, outcomes):
    outcomes.arms["better"] = outcome(HITS[2:], 2)
    found = gain(compare(plan, outcomes, resamples=50))
    assert (found.value, found.seeds) == (pytest.approx(25.0), 1)
    outcomes.arms["better"] = outcome(HITS[2:], 7)
    assert differences(compare(plan, outcomes, resamples=50)).empty
    del outcomes.arms["better"]
    comparison = compare(plan, outcomes, resamples=50)
    assert differences(comparison).empty
    assert "| plain |" in markdown(comparison, [])
    assert "plain & the base" in latex(comparison)


def test_markdown(plan, outcomes):
    text = markdown(compare(plan, outcomes, resamples=50), [])
    assert "## All: 4 segments" in text
    assert "## Unseen combinations: 2 segments" in text
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    heads = ["arm", "", "seeds", "verb", "verb - plain", "noun", "noun - plain"]
    assert rows[0] == [*heads, "action", "action - plain"]
    plain, better = rows[2:4]
    # Verb: 25 and 50 %; noun: 75 and 50 %.
    assert plain == ["plain", "the base", "2", *MEANS, "0.0 ± 0.0", ""]
    # In both seeds the same segment: the interval holds what one of four segments can do.
    assert better[4].startswith("+25.0 [")
    assert "Further comparisons" not in text


MEANS = ["37.5 ± 17.7", "", "62.5 ± 17.7", ""]


def test_bold_is_a_difference_whose_interval_excludes_zero(plan, outcomes):
    """All segments of `better` are right, none of `plain`."""
    for name, hits in (("plain", NONE), ("better", ~NONE)):
        outcomes.arms[name].hits["verb"] = hits[:2]
    comparison = compare(plan, outcomes, resamples=50)
    assert "| **+100.0 [+100.0, +100.0]** |" in markdown(comparison, [])
    assert r"& \textbf{+100.0 [+100.0, +100.0]} &" in latex(comparison)
    # The interval of the nouns holds zero.
    assert markdown(comparison, []).count("**") == 2 * 3


def test_further_comparisons(plan, outcomes):
    plan = replace(plan, also_compare=(("better", "plain"),))
    comparison = compare(plan, outcomes, resamples=50)
    text = markdown(comparison, [])
    further = text.split("## Further comparisons")[1].splitlines()
    rows = [cells(line) for line in further if line.startswith("|")]
    assert rows[0] == ["difference", "segments", "verb", "noun", "action"]
    assert [row[:2] for row in rows[2:]] == [
        ["better - plain", subset] for subset in ("all", "seen", "unseen")
    ]
    assert rows[2][2].startswith("+25.0 [")
    assert "better - plain & all & +25.0 [" in latex(comparison)


def test_a_comparison_with_the_base_may_be_named_again(plan, outcomes, tmp_path):
    """Its difference is there once, in the figure too, which has one row for it."""
    once = compare(plan, outcomes, resamples=20)
    plan = replace(plan, also_compare=(("better", plan.compare_to), ("better", plan.compare_to)))
    again = compare(plan, outcomes, resamples=20)
    assert len(again.values) == len(once.values)
    assert {path.name for path in draw_figure(again, tmp_path)} == {"figure.png", "figure.svg"}


def test_latex(plan, outcomes):
    text = latex(compare(plan, outcomes, resamples=50))
    assert r"more \& \_better\_" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {9}
    assert [line.split(" & ")[0] for line in rows[1:]] == ["all"] * 2 + ["seen"] * 2 + [
        "unseen"
    ] * 2
    assert r"37.5 $\pm$ 17.7" in text
    assert r"\begin{tabular}{lllrrrrrrr}" in text
    assert "% Segments: all 4, seen 2, unseen 2." in text
    assert "[-" not in text


def test_csv_and_json_hold_the_same(plan, outcomes, tmp_path):
    comparison = compare(plan, outcomes, resamples=50)
    rows = list(csv.DictReader(io.StringIO(csv_rows(comparison))))
    assert len(rows) == 3 * (2 + 1) * 3
    path = write_json(tmp_path / "table.json", as_json(comparison, outcomes, []))
    table = json.loads(path.read_text())
    assert len(table["values"]) == len(rows)
    for row, found in zip(rows, table["values"], strict=True):
        for name in ("arm", "reference", "subset", "kind"):
            assert row[name] == found[name]
        for name in ("segments", "seeds"):
            assert int(row[name]) == found[name]
        for name in ("value", "deviation", "low", "high"):
            if row[name] == "":
                assert found[name] is None
            else:
                assert float(row[name]) == pytest.approx(found[name], abs=1e-4)
        filled = {name for name in ("deviation", "low", "high") if row[name]}
        assert filled == ({"low", "high"} if row["reference"] else {"deviation"})
    by_seed = {
        row["seed"]: row["value"]
        for row in table["by_seed"]
        if (row["arm"], row["subset"], row["kind"]) == ("better", "all", "verb")
    }
    assert by_seed == {2: 75.0, 1: 50.0}


def test_the_best_arm_has_the_highest_verb_and_noun(plan, outcomes):
    outcomes.arms["better"].hits["noun"][:] = True
    comparison = compare(plan, outcomes, resamples=50)
    assert comparison.best == "better"
    assert "over all segments: better." in markdown(comparison, [])


def test_the_table_links_to_the_reports_of_its_runs(plan, outcomes, tmp_path):
    comparison = compare(plan, outcomes, resamples=50)
    out = tmp_path / "an ablation"
    runs = plan_runs(plan, out, "code")
    assert "Reports" not in markdown(comparison, runs)
    for run in (runs[1], runs[2]):
        run.folder.mkdir(parents=True)
        (run.folder / "report.html").touch()
    write_report(out, comparison, outcomes, runs)
    line = next(x for x in (out / "table.md").read_text().splitlines() if "Reports" in x)
    names = [f"{run.arm.name}/seed_{run.seed}/report.html" for run in (runs[1], runs[2])]
    assert [link.split(")")[0] for link in line.split("](")[1:]] == names
    # A table that is printed names them as seen from the working directory.
    assert f"(<{runs[1].folder}/report.html>)" in markdown(comparison, runs)
