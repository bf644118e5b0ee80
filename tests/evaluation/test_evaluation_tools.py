"""The commands around a predictions file, from file to table."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.predictions import Predictions, read_predictions, write_predictions
from slowfast.evaluation.results import recognition_results
from slowfast.evaluation.scores import log_scores, log_softmax
from slowfast.evaluation.submission import check_submission
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_json
from tests.evaluation.verb_noun import verb_noun

Main = Callable[[list[str]], None]

COLUMNS = [
    "narration_id",
    "participant_id",
    "video_id",
    "narration_timestamp",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
]
LABELS = ["narration", "verb_class", "noun_class"]
VERBS, NOUNS = [0, 1, 2, 1, 0, 3], [10, 20, 10, 299, 5, 6]
IDS = [f"P{i % 2 + 17:02d}_07_{i}" for i in range(6)]


@pytest.fixture
def tool(root: Path) -> Callable[[str], Main]:
    def load(name: str) -> Main:
        spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return load


def _frame_list(path: Path, labelled: bool) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*COLUMNS, *(LABELS if labelled else [])])
        for name, verb, noun in zip(IDS, VERBS, NOUNS, strict=True):
            place = [name, name[:3], name[:6], "", "00:00:00.00", "00:00:01.00", 1, 60]
            rows.writerow([*place, *(["do it", verb, noun] if labelled else [])])
    return path


def _scores(advantage: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    verb, noun = (generator.standard_normal((6, k)) for k in (97, 300))
    verb[np.arange(6), VERBS] += advantage
    noun[np.arange(6), NOUNS] += advantage
    return log_softmax(verb), log_softmax(noun)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with predictions that are right, and the public tables next to its list."""
    folder = tmp_path / "run"
    write_predictions(folder / "predictions.pkl", verb_noun(*_scores(15), IDS))
    _frame_list(tmp_path / "validation.csv", labelled=True)
    _frame_list(tmp_path / "test.csv", labelled=False)
    (tmp_path / "EPIC_100_tail_verbs.csv").write_text("verb\n2\n3\n")
    (tmp_path / "EPIC_100_tail_nouns.csv").write_text("noun\n299\n")
    name = "EPIC_100_unseen_participant_ids_validation.csv"
    (tmp_path / name).write_text("participant_id\nP18\n")
    return folder


def cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_evaluate_prints_and_writes_the_official_values(
    run: Path, tool: Callable[[str], Main], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = str(run.parent / "validation.csv")
    predictions = str(run / "predictions.pkl")
    tool("evaluate")(["--predictions", predictions, "--annotations", labels, "--scorer-compat"])
    results = json.loads((run / "evaluation.json").read_text())
    assert len(results["official"]) == 12
    assert set(results["official"].values()) == {100.0}
    assert results["segments"] == {
        "all": 6,
        "unseen": 3,
        "tail_verb": 2,
        "tail_noun": 1,
        "tail_action": 3,
    }
    printed = capsys.readouterr().out
    assert "the public scorer's arithmetic gives the same" in printed
    assert str(run / "evaluation.json") in printed


def test_evaluate_equals_the_stored_values_on_the_real_list(
    tmp_path: Path, real: Path, golden: Path, tool: Callable[[str], Main]
) -> None:
    with (real / "EPIC_100_validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    parts = []
    for seed, count, column in ((9001, 97, "verb_class"), (9002, 300, "noun_class")):
        draws = np.random.Generator(np.random.PCG64(seed)).standard_normal((len(rows), count))
        draws[np.arange(len(rows)), [int(row[column]) for row in rows]] += 3
        parts.append(np.maximum(log_softmax(draws), -30))
    ids = [row["narration_id"] for row in rows]
    # Another order than the list's: segments are matched by their id.
    path = write_predictions(
        tmp_path / "p.pkl", verb_noun(parts[0][::-1], parts[1][::-1], ids[::-1])
    )
    labels = str(real / "EPIC_100_validation.pkl")
    tool("evaluate")(["--predictions", str(path), "--annotations", labels, "--resamples", "10"])
    stored = json.loads((golden / "epic_scorer.json").read_text())["values"]["noisy_oracle"]
    results = json.loads((tmp_path / "evaluation.json").read_text())
    assert results["official"] == pytest.approx(stored, abs=1e-6)


def test_evaluate_adds_many_shot_classes_for_epic_55(
    tmp_path: Path, real: Path, tool: Callable[[str], Main], capsys: pytest.CaptureFixture[str]
) -> None:
    with (real / "EPIC_train_action_labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:40]
    labels = tmp_path / "validation.csv"
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    scores = [np.full((40, count), -9.0) for count in (125, 352)]
    for part, column in zip(scores, ("verb_class", "noun_class"), strict=True):
        part[np.arange(40), [int(row[column]) for row in rows]] = 0
    path = write_predictions(tmp_path / "p.pkl", verb_noun(*scores, [row["uid"] for row in rows]))
    training = str(real / "EPIC_train_action_labels.csv")
    tool("evaluate")(
        ["--predictions", str(path), "--annotations", str(labels), "--train-annotations", training]
    )
    ours = json.loads((tmp_path / "evaluation.json").read_text())["ours"]
    assert [ours[f"many_shot_{kind}_recall"] for kind in ("verb", "noun", "action")] == [100.0] * 3
    assert "many_shot_noun_precision" in capsys.readouterr().out


def test_evaluate_warns_of_probabilities(
    run: Path, tool: Callable[[str], Main], caplog: pytest.LogCaptureFixture
) -> None:
    path = run / "probabilities.pkl"
    write_predictions(path, verb_noun(*(np.exp(s) for s in _scores(3)), IDS))
    tool("evaluate")(
        ["--predictions", str(path), "--annotations", str(run.parent / "validation.csv")]
    )
    assert "verb_output" in caplog.text
    assert "are probabilities" in caplog.text


def test_evaluate_counts_missing_segments(run: Path, tool: Callable[[str], Main]) -> None:
    short = run / "short.pkl"
    verb, noun = _scores(3)
    write_predictions(short, verb_noun(verb[:4], noun[:4], IDS[:4]))
    with pytest.raises(UserError, match="2 segments missing"):
        tool("evaluate")(
            ["--predictions", str(short), "--annotations", str(run.parent / "validation.csv")]
        )
    assert not (run / "evaluation.json").exists()


def test_evaluate_leaves_the_results_of_the_run_alone(
    run: Path, tool: Callable[[str], Main]
) -> None:
    (run / "results.json").write_text("of the test run")
    labels = str(run.parent / "validation.csv")
    tool("evaluate")(["--predictions", str(run / "predictions.pkl"), "--annotations", labels])
    assert (run / "results.json").read_text() == "of the test run"
    assert (run / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("listed", "problem"),
    [
        ("absent.csv", "does not exist"),
        ("test.csv", "has no column verb_class"),
        ("wide.csv", "outside the 97 classes of the predictions"),
    ],
)
def test_wrong_annotations_are_told_by_their_option(
    run: Path, tool: Callable[[str], Main], listed: str, problem: str
) -> None:
    wide = (run.parent / "validation.csv").read_text().replace(",do it,0,", ",do it,97,")
    (run.parent / "wide.csv").write_text(wide)
    arguments = ["--predictions", str(run / "predictions.pkl"), "--annotations"]
    with pytest.raises(UserError, match=f"^--annotations: .*{problem}") as error:
        tool("evaluate")([*arguments, str(run.parent / listed)])
    assert "DATA." not in str(error.value)
    assert "MODEL." not in str(error.value)


def test_a_users_mistake_is_one_line_and_status_2(run: Path, root: Path) -> None:
    command = [sys.executable, str(root / "tools" / "evaluate.py")]
    command += ["--predictions", str(run / "absent.pkl"), "--annotations", "nowhere.csv"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "absent.pkl" in line


def test_fusing_files(run: Path, tool: Callable[[str], Main]) -> None:
    other = run / "other.pkl"
    uniform = [log_scores(np.full((6, k), 1 / k)) for k in (97, 300)]
    write_predictions(other, verb_noun(*uniform, IDS))
    arguments = ["--predictions", str(run / "predictions.pkl"), str(other), "--weights", "1", "3"]
    out = run / "fused.pkl"
    tool("fuse_predictions")([*arguments, "--out", str(out)])
    expected = log_softmax(_scores(15)[0] / 4)
    np.testing.assert_allclose(read_predictions(out).scores["verb"], expected, atol=1e-4)
    with pytest.raises(UserError, match="--force"):
        tool("fuse_predictions")([*arguments, "--out", str(out)])


def test_predictions_of_other_heads_are_fused_but_not_scored(
    run: Path, tool: Callable[[str], Main]
) -> None:
    path, out = run / "action.pkl", run / "fused.pkl"
    write_predictions(path, Predictions({"action": np.zeros((6, 9))}, np.array(IDS)))
    tool("fuse_predictions")(["--predictions", str(path), str(path), "--out", str(out)])
    np.testing.assert_allclose(read_predictions(out).scores["action"], np.log(1 / 9), atol=1e-6)
    listed = ["--annotations", str(run.parent / "validation.csv")]
    problem = r"heads action \(9 classes\), but .* needs single-label heads verb and noun"
    with pytest.raises(UserError, match=f"action.pkl has the {problem}"):
        tool("evaluate")(["--predictions", str(path), *listed])
    with pytest.raises(UserError, match=problem):
        tool("make_submission")(
            [
                *("--predictions", str(path), "--annotations", str(run.parent / "test.csv")),
                *("--out", str(run / "s.zip"), "--sls-pt", "2", "--sls-tl", "3", "--sls-td", "4"),
            ]
        )


def test_summarize_shows_the_main_values_of_any_heads(
    tmp_path: Path, tool: Callable[[str], Main], capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(0)
    heads = [HeadSpec(name, 3, False) for name in ("verb", "noun", "hand")]
    for name in ("one", "two"):
        scores = [draw.standard_normal((20, 3)) for _ in heads]
        labels = [draw.integers(0, 3, 20) for _ in heads]
        content = recognition_results(heads, scores, labels, resamples=5)
        write_json(tmp_path / name / "results.json", content)
    tool("summarize")([str(tmp_path / "one"), str(tmp_path / "two")])
    printed = capsys.readouterr().out
    shown = [f"{head.name}_top{k}" for head in heads for k in (1, 5)]
    assert cells(printed.splitlines()[0]) == ["run", *shown, "all_top1"]


def test_a_submission_is_written_and_checked(
    run: Path, tool: Callable[[str], Main], capsys: pytest.CaptureFixture[str]
) -> None:
    out = run / "submission.zip"
    listed = ["--annotations", str(run.parent / "test.csv")]
    levels = ["--sls-pt", "2", "--sls-tl", "3", "--sls-td", "4"]
    written = [*listed, "--predictions", str(run / "predictions.pkl"), "--out", str(out)]
    tool("make_submission")([*written, *levels])
    assert check_submission(out, IDS).sls_td == 4
    printed = capsys.readouterr().out
    assert "6 segments" in printed
    assert "MiB" in printed
    assert "sls_td 4: training and validation set" in printed
    tool("make_submission")([*listed, "--check", str(out)])
    with pytest.raises(UserError, match="--sls-td missing"):
        tool("make_submission")([*written, *levels[:4]])
    with pytest.raises(UserError, match="--force"):
        tool("make_submission")([*written, *levels])


def test_help_explains_every_level(
    tool: Callable[[str], Main], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        tool("make_submission")(["--help"])
    text = capsys.readouterr().out
    for meaning in ("private data", "narration timestamps", "zero-shot"):
        assert meaning in text


def test_summarize_prints_the_runs(
    run: Path, tool: Callable[[str], Main], capsys: pytest.CaptureFixture[str]
) -> None:
    labels = str(run.parent / "validation.csv")
    tool("evaluate")(["--predictions", str(run / "predictions.pkl"), "--annotations", labels])
    capsys.readouterr()
    tool("summarize")([str(run), str(run), "--keys", "action_top1"])
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[0]) == ["run", "action_top1"]
    assert cells(lines[3]) == ["run", "100.00 [100.0, 100.0] (+0.00~)"]
    assert not any("report.html" in line for line in lines)
    (run / "report.html").touch()
    tool("summarize")([str(run), str(run)])
    links = [line for line in capsys.readouterr().out.splitlines() if "report.html" in line]
    assert links == [f"[report of run]({run}/report.html)"] * 2


@pytest.fixture
def two_runs(run: Path, tool: Callable[[str], Main]) -> list[str]:
    """The run and one of uncertain scores, evaluated, with the config of a test run."""
    other = run.parent / "other"
    write_predictions(other / "predictions.pkl", verb_noun(*_scores(1), IDS))
    for folder in (run, other):
        arguments = ["--predictions", str(folder / "predictions.pkl")]
        tool("evaluate")([*arguments, "--annotations", str(run.parent / "validation.csv")])
    config = f"DATA: {{PATH_TO_DATA_DIR: {run.parent}}}\nTEST: {{DATA_LIST: validation.csv}}\n"
    (run / "config.yaml").write_text(config)
    return [str(run), str(other)]


@pytest.mark.parametrize("given", [True, False])
def test_summarize_compares_segment_by_segment(
    run: Path,
    two_runs: list[str],
    given: bool,
    tool: Callable[[str], Main],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if given:
        (run / "config.yaml").unlink()
        two_runs += ["--annotations", str(run.parent / "validation.csv")]
    capsys.readouterr()
    tool("summarize")(two_runs)
    captured = capsys.readouterr()
    assert "~ inside the noise by a paired bootstrap over segments)" in captured.out
    assert captured.err == ""
    tool("summarize")([*two_runs, "--style", "csv", "--keys", "noun_top1"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert rows[0]["difference_low"] == ""
    assert float(rows[1]["difference_low"]) <= float(rows[1]["difference"])


def test_summarize_without_a_list_that_fits(
    run: Path,
    two_runs: list[str],
    tool: Callable[[str], Main],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A changed list in the config is logged and intervals are used; a named list is refused."""
    labels = run.parent / "validation.csv"
    labels.write_text("\n".join(labels.read_text().splitlines()[:-1]) + "\n")
    capsys.readouterr()
    tool("summarize")(two_runs)
    captured = capsys.readouterr()
    assert "no paired bootstrap: " in captured.err
    assert "1 segments not in the list" in captured.err
    assert "~ inside the noise)" in captured.out
    with pytest.raises(UserError, match="not in the list"):
        tool("summarize")([*two_runs, "--annotations", str(labels)])
