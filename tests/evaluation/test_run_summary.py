"""The table over runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from slowfast.evaluation.summary import format_summary, load_run
from slowfast.utils.errors import UserError


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
    assert "| c | 61.00 [60.0, 62.0] (+1.00~) | 40.00 (+0.00) |" in markdown.splitlines()
    latex = format_summary(runs, "latex")
    assert r"c & 61.00 [60.0, 62.0] (+1.00$\sim$) & 40.00 (+0.00) \\" in latex.splitlines()
    assert r"a\_b & 60.00 [59.0, 61.0]" in latex


def test_keys_of_every_section_can_be_chosen(tmp_path: Path) -> None:
    (row,) = _rows([_run(tmp_path, "a", 60)], ["verb_calibration_error"])
    assert float(row["value"]) == 3.0
    with pytest.raises(UserError, match=r"no run has verb_top3; there are .*noun_top1"):
        _rows([tmp_path / "a"], ["verb_top3"])


def test_a_results_file_may_be_named_itself(tmp_path: Path) -> None:
    run = _run(tmp_path, "a", 60)
    assert load_run(run / "results.json") == load_run(run)


def test_runs_of_other_segments_are_not_compared(tmp_path: Path) -> None:
    runs = [_run(tmp_path, "a", 60), _run(tmp_path, "b", 60, num_segments=99)]
    with pytest.raises(UserError, match="100 segments, b on 99"):
        _rows(runs)


def test_what_is_no_results_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read .*has the run tested"):
        load_run(tmp_path)
    (tmp_path / "results.json").write_text('{"verb_top1": 3}')
    with pytest.raises(UserError, match="not a results file"):
        load_run(tmp_path)
