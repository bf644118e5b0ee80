"""The tables of a small comparison."""

import csv
import io
import json

import numpy as np
import pytest

from slowfast.lab.ablation.outcomes import ArmOutcome, Outcomes
from slowfast.lab.ablation.plan import read_plan
from slowfast.lab.ablation.report import as_json, compare, csv_rows, latex, markdown
from slowfast.lab.ablation.statistics import paired_difference

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


def test_seeds_are_paired_by_their_number(plan, outcomes):
    """Seed 1: 2 against 1 of 4 verbs; seed 2: 3 against 2. The arms have their seeds in other
    orders; paired by position the gains would be 50 and 0, with a wider interval."""
    gain = compare(plan, outcomes, resamples=50).differences["all"]["better", "plain"]["verb"]
    assert gain.value == pytest.approx(25.0)
    assert gain.seeds == 2
    assert gain == paired_difference(HITS[[1, 2]], HITS[[0, 1]], resamples=50)
    assert gain != paired_difference(HITS[[2, 1]], HITS[[0, 1]], resamples=50)


def test_a_difference_is_over_the_seeds_of_both(plan, outcomes):
    outcomes.arms["better"] = outcome(HITS[2:], 2)
    comparison = compare(plan, outcomes, resamples=50)
    gain = comparison.differences["all"]["better", "plain"]["verb"]
    assert (gain.value, gain.seeds) == (pytest.approx(25.0), 1)
    outcomes.arms["better"] = outcome(HITS[2:], 7)
    assert not compare(plan, outcomes, resamples=50).differences["all"]
    del outcomes.arms["better"]
    comparison = compare(plan, outcomes, resamples=50)
    assert not comparison.differences["all"]
    assert "| plain |" in markdown(comparison, [])


def test_markdown(plan, outcomes):
    text = markdown(compare(plan, outcomes, resamples=50), [])
    assert "## All: 4 segments" in text
    assert "## Unseen combinations: 2 segments" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| plain | the base | 2 |")][:1]
    # Verb: 25 and 50 %; noun: 75 and 50 %.
    assert row.split(" | ")[3] == "37.5 ± 17.7"
    assert row.split(" | ")[5] == "62.5 ± 17.7"
    # In both seeds the same segment: the interval holds what one of four segments can do.
    assert "+25.0 [" in text


def test_latex(plan, outcomes):
    text = latex(compare(plan, outcomes, resamples=50))
    assert r"more \& \_better\_" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows if not line.startswith(r"\multicolumn")} == {8}
    assert r"37.5 $\pm$ 17.7" in text
    assert r"\begin{tabular}{llrrrrrrr}" in text


def test_csv_and_json_hold_the_same(plan, outcomes):
    comparison = compare(plan, outcomes, resamples=50)
    rows = list(csv.DictReader(io.StringIO(csv_rows(comparison))))
    assert len(rows) == 3 * (2 + 1) * 3
    table = json.loads(json.dumps(as_json(comparison, outcomes, [])))
    for row in rows:
        if row["reference"]:
            (found,) = [d for d in table["differences"] if d["subset"] == row["subset"]]
            for name in ("value", "low", "high"):
                assert float(row[name]) == pytest.approx(found[row["kind"]][name], abs=1e-4)
        else:
            found = table["arms"][row["arm"]]["means"][row["subset"]][row["kind"]]
            assert float(row["value"]) == pytest.approx(found["value"], abs=1e-4)
            assert float(row["deviation"]) == pytest.approx(found["deviation"], abs=1e-4)
    assert table["arms"]["better"]["by_seed"]["all"]["verb"] == [75.0, 50.0]


def test_the_best_arm_has_the_highest_verb_and_noun(plan, outcomes):
    outcomes.arms["better"].hits["noun"][:] = True
    comparison = compare(plan, outcomes, resamples=50)
    assert comparison.best == "better"
    assert "over all segments: better." in markdown(comparison, [])
