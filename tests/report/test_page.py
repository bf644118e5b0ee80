"""Sections of a page against values counted by hand, and the page itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slowfast.config.heads import HeadSpec
from slowfast.datasets.types import Segment
from slowfast.evaluation.metrics import bootstrap_intervals, rate
from slowfast.evaluation.predictions import Predictions, write_predictions
from slowfast.report.page import page
from slowfast.report.run import ReportRun, TestedSegments, load_run, load_runs
from slowfast.report.sections import classes
from slowfast.report.sections.curves import curves
from slowfast.report.sections.results import differences
from slowfast.utils.errors import UserError

HEAD = HeadSpec("verb", 3, False)


def _run(name: str, answers: list[int], labels: list[int], share: float = 0.8) -> ReportRun:
    """A run whose best answers are given, each with the probability `share`."""
    probabilities = np.full((len(answers), 3), (1 - share) / 2)
    probabilities[np.arange(len(answers)), answers] = share
    scores = {"verb": np.log(probabilities).astype(np.float32)}
    ids = np.array([f"s{k}" for k in range(len(answers))])
    run = ReportRun(name, None, None, (), {}, Predictions(scores, ids))
    segments = [
        Segment(f"s{k}", f"v{k // 2}", "P", 1, 2, f"text {k}", ((label,) if label >= 0 else (),))
        for k, label in enumerate(labels)
    ]
    run.__dict__["names"] = {"verb": ("cut", "wash", "put")}
    source = None
    run.__dict__["tested"] = TestedSegments(
        segments, (HEAD,), scores, {"verb": np.array(labels)}, source
    )
    return run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ReportRun:
    """Five segments, one of them unlabelled; training support 10, 1 and 9."""
    counts = {"verb": np.array([10, 1, 9])}
    monkeypatch.setattr(classes, "_training_counts", lambda run, heads: counts)
    return _run("one", [0, 0, 1, 2, 2], [0, 1, 1, 2, -1])


def test_confusion_counts_every_labelled_segment(run: ReportRun) -> None:
    (verb,) = classes.confusion(run)
    assert verb == {
        "head": "verb",
        "names": ["cut", "wash", "put"],
        "counts": [[1, 0, 0], [1, 1, 0], [0, 0, 1]],
    }


def test_per_class_recall_support_and_tail(run: ReportRun) -> None:
    """The tail is what fits into 20 % of the 20 training segments: wash alone."""
    (verb,) = classes.per_class(run)
    assert verb["rows"] == [
        ["cut", 1, 10, "head", 100.0, 100.0],
        ["wash", 2, 1, "tail", 50.0, 100.0],
        ["put", 1, 9, "head", 100.0, 100.0],
    ]


def test_calibration_bins(run: ReportRun) -> None:
    (verb,) = classes.calibration(run)
    assert verb["count"] == [4]
    assert verb["accuracy"] == [75.0]
    assert verb["confidence"] == [pytest.approx(80.0, abs=1e-4)]


def test_differences_are_of_common_segments(run: ReportRun) -> None:
    other = _run("two", [0, 1, 1, 1, 0], [0, 1, 1, 2, -1])
    (pair,) = differences([run, other])
    assert (pair["run"], pair["base"], pair["note"]) == ("two", "one", "4 common segments")
    top1 = next(row for row in pair["rows"] if row[0] == "verb_top1")
    assert top1[1:4] == [75.0, 75.0, 0.0]
    assert top1[4][0] < 0 < top1[4][1]


def test_intervals_by_group_draw_whole_groups() -> None:
    """Of two videos, one right and one wrong, a resample has 0, 50 or 100 %."""
    hits = np.array([True] * 50 + [False] * 50)
    statistic = {"x": lambda weights: rate(hits, weights)}
    low, high = bootstrap_intervals(statistic, 100)["x"]
    assert 30 < low < high < 70
    assert bootstrap_intervals(statistic, 100, groups=["a"] * 50 + ["b"] * 50)["x"] == (0, 100)
    each = bootstrap_intervals(statistic, 100, groups=list(range(100)))
    assert each == bootstrap_intervals(statistic, 100)


def test_curves_by_epoch(tmp_path: Path) -> None:
    lines = [
        {"_type": "train_iter", "epoch": "1/2", "iter": "5/10", "lr": 0.1, "loss": 3.0, "align": 2},
        {"_type": "val_epoch", "epoch": "1/2", "verb_top1": 40.0},
        {
            "_type": "train_iter",
            "epoch": "2/2",
            "iter": "10/10",
            "lr": 0.0,
            "loss": 1.0,
            "align": 1,
        },
    ]
    log = "\n".join(f"[x] json_stats: {json.dumps(line)}" for line in lines)
    # The last line is still being written.
    (tmp_path / "log.txt").write_text(log + '\n[x] json_stats: {"_type": "train_it')
    charts = {chart["title"]: chart["lines"] for chart in curves([load_run(tmp_path)])}
    assert charts["total loss"][0]["x"] == [0.5, 2.0]
    assert charts["total loss"][0]["y"] == [3.0, 1.0]
    assert charts["losses"][0]["name"] == "align"
    assert charts["learning rate"][0]["y"] == [0.1, 0.0]
    assert charts["accuracy, top-1 and mAP (%)"][0]["x"] == [1.0]


def test_page_of_a_predictions_file_alone(tmp_path: Path) -> None:
    """A file without a run, with text that must not end the script."""
    ids = np.array(["</script><b>", "s1"])
    path = tmp_path / "peer.pkl"
    scores = np.log(np.full((2, 3), 1 / 3)).astype(np.float32)
    write_predictions(path, Predictions({"verb": scores}, ids))
    text = page([load_run(path)])
    assert len(text.encode()) < 10e6
    data = text.split('id="data">')[1].split("</script>")[0]
    content = json.loads(data)
    assert content["runs"][0]["name"] == "peer"
    assert "@@" not in text.split('id="data">')[1].split("</script>")[0]


def test_page_holds_no_nan(run: ReportRun) -> None:
    run.missing.append("a </script> in a note")
    run.results = {"num_segments": 5, "verb_top1": float("nan")}
    run.__dict__["tested"] = None
    text = page([run], explain=False)
    assert "NaN" not in text.split('id="data">')[1].split("</script>")[0]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has neither config.yaml nor log.txt"):
        load_run(tmp_path)


def test_runs_with_one_folder_name_are_told_apart(tmp_path: Path) -> None:
    """As the arms of an ablation, whose folders are called after their seeds."""
    folders = [tmp_path / arm / "seed_1" for arm in ("p", "q")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("")
    assert [run.name for run in load_runs(folders)] == ["p/seed_1", "q/seed_1"]
    assert [run.name for run in load_runs(folders[:1])] == ["seed_1"]
    with pytest.raises(UserError, match="is given twice"):
        load_runs([folders[0], folders[0]])
