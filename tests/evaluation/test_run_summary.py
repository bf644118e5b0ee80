"""The table over runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from slowfast.evaluation.paired import LabelledList
from slowfast.evaluation.predictions import write_predictions
from slowfast.evaluation.results import recognition_results
from slowfast.evaluation.summary import compare, format_summary, load_run
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_json
from tests.evaluation.verb_noun import verb_noun, verb_noun_heads


def _run(folder: Path, name: str, verb: float, num_segments: int = 100) -> Path:
    """A run whose verb accuracy has an interval of +- 1."""
    path = folder / name
    path.mkdir()
    results = {
        "num_segments": num_segments,
        "verb_top1": verb,
        "noun_top1": 40.0,
        "ours": {"verb_calibration_error": 3.0},
        "intervals": {"verb_top1": [verb - 1, verb + 1], "noun_top1": [None, None]},
    }
    (path / "results.json").write_text(json.dumps(results))
    return path


def _rows(paths: list[Path], keys: list[str] | None = None) -> list[dict[str, str]]:
    text = format_summary([load_run(path) for path in paths], "csv", keys)
    return list(csv.DictReader(text.splitlines()))


def test_differences_inside_the_noise_are_flagged(tmp_path: Path) -> None:
    # Half intervals of 1 and 1: the noise of a difference is the root of 2.
    runs = [_run(tmp_path, name, v) for name, v in (("base", 60), ("near", 61.4), ("far", 61.5))]
    rows = {(row["run"], row["key"]): row for row in _rows(runs)}
    assert rows["base", "verb_top1"]["difference"] == ""
    near, far = rows["near", "verb_top1"], rows["far", "verb_top1"]
    assert (float(near["difference"]), near["inside_noise"]) == (pytest.approx(1.4), "true")
    assert (float(far["difference"]), far["inside_noise"]) == (pytest.approx(1.5), "false")
    assert float(near["low"]) == pytest.approx(60.4)


def test_markdown_and_latex_hold_the_same_cells(tmp_path: Path) -> None:
    runs = [load_run(_run(tmp_path, name, v)) for name, v in (("a_b", 60), ("c", 61))]
    markdown = format_summary(runs, "markdown")
    assert ["", "c", "61.00 [60.0, 62.0] (+1.00~)", "40.00 (+0.00)", ""] in [
        [cell.strip() for cell in line.split("|")] for line in markdown.splitlines()
    ]
    latex = format_summary(runs, "latex")
    assert r"c & 61.00 [60.0, 62.0] (+1.00$\sim$) & 40.00 (+0.00) \\" in latex.splitlines()
    assert r"a\_b & 60.00 [59.0, 61.0]" in latex


def test_keys_of_every_section_can_be_chosen(tmp_path: Path) -> None:
    (row,) = _rows([_run(tmp_path, "a", 60)], ["verb_calibration_error"])
    assert float(row["value"]) == 3.0
    with pytest.raises(UserError, match=r"no run has verb_top3; choose from .*noun_top1"):
        _rows([tmp_path / "a"], ["verb_top3"])


def test_a_results_file_may_be_named_itself(tmp_path: Path) -> None:
    run = _run(tmp_path, "a", 60)
    assert load_run(run / "results.json") == load_run(run)


def test_runs_of_other_segments_are_not_compared(tmp_path: Path) -> None:
    runs = [_run(tmp_path, "a", 60), _run(tmp_path, "b", 60, num_segments=99)]
    with pytest.raises(UserError, match="100 segments, b on 99"):
        _rows(runs)


def test_what_is_no_results_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read .*did the run finish its test"):
        load_run(tmp_path)
    (tmp_path / "results.json").write_text('{"verb_top1": 3}')
    with pytest.raises(UserError, match="not a results file"):
        load_run(tmp_path)


NUM_PAIRED = 400


def _predicted(folder: Path, name: str, hits: np.ndarray, verbs: np.ndarray) -> Path:
    """A run whose verbs are right where `hits` (n,) is, and its results."""
    answer = np.where(hits, verbs, (verbs + 1) % 4)
    verb = np.full((NUM_PAIRED, 4), -9.0)
    verb[np.arange(NUM_PAIRED), answer] = 0
    noun = np.zeros((NUM_PAIRED, 2))
    noun[:, 0] = 1
    path = folder / name
    ids = [f"P01_01_{i}" for i in range(NUM_PAIRED)]
    write_predictions(path / "predictions.pkl", verb_noun(verb, noun, ids))
    labels = [verbs, np.zeros(NUM_PAIRED, int)]
    results = recognition_results(verb_noun_heads(4, 2), [verb, noun], labels, resamples=200)
    write_json(path / "results.json", results)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledList:
    verbs = np.random.default_rng(1).integers(0, 4, NUM_PAIRED)
    ids = [f"P01_01_{i}" for i in range(NUM_PAIRED)]
    return LabelledList(str(tmp_path), ids, [verbs.tolist(), [0] * NUM_PAIRED])


def test_a_small_difference_on_the_same_segments_is_no_noise(
    tmp_path: Path, labelled: LabelledList
) -> None:
    """15 of 400 segments improve and none gets worse: inside both intervals, but not by chance."""
    verbs = np.array(labelled.labels[0])
    hits = np.arange(NUM_PAIRED) % 2 == 0
    better = hits | (np.arange(NUM_PAIRED) < 30)
    shuffled = np.random.default_rng(2).permutation(better)
    runs = [
        load_run(_predicted(tmp_path, name, right, verbs))
        for name, right in (("base", hits), ("better", better), ("shuffled", shuffled))
    ]
    keys = ["verb_top1"]
    (_, better_cell, shuffled_cell) = (row[0] for row in compare(runs, keys, labelled))
    assert better_cell.difference == pytest.approx(100 * 15 / NUM_PAIRED)
    assert shuffled_cell.difference == pytest.approx(100 * 15 / NUM_PAIRED)
    assert not better_cell.inside_noise
    assert shuffled_cell.inside_noise
    (_, alone, _) = (row[0] for row in compare(runs, keys))
    assert alone.inside_noise
    assert alone.paired is None
    # The interval of a mean of 400 differences, 15 of them 1 and the others 0.
    share = 15 / NUM_PAIRED
    half = 196 * (share * (1 - share) / NUM_PAIRED) ** 0.5
    low, high = better_cell.paired or (0, 0)
    assert low == pytest.approx(100 * share - half, abs=0.4)
    assert high == pytest.approx(100 * share + half, abs=0.4)
    assert "paired bootstrap" in format_summary(runs, "markdown", keys, labelled)


def test_without_predictions_or_with_others_the_intervals_decide(
    tmp_path: Path, labelled: LabelledList
) -> None:
    verbs = np.array(labelled.labels[0])
    hits = np.arange(NUM_PAIRED) % 2 == 0
    paths = [_predicted(tmp_path, name, hits, verbs) for name in ("base", "stale", "gone")]
    results = json.loads((paths[1] / "results.json").read_text())
    results["verb_top1"] += 1.0
    (paths[1] / "results.json").write_text(json.dumps(results))
    (paths[2] / "predictions.pkl").unlink()
    runs = [load_run(path) for path in paths]
    cells = [row[0] for row in compare(runs, ["verb_top1"], labelled)]
    assert [cell.paired for cell in cells] == [None] * 3
    assert cells[1].inside_noise
    assert "both intervals" not in format_summary(runs, "markdown", ["verb_top1"], labelled)
