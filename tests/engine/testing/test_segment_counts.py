"""Every TEST.TASK in several processes: each segment once, and the numbers of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slowfast.engine import tester
from slowfast.engine.testing import features, shards
from slowfast.evaluation.predictions import read_predictions
from tests.distributed.processes import run_in_processes
from tests.engine.tiny_run import SEGMENTS, make_home, run_test, tiny_run_cfg

RESULTS = {
    "recognition": "results.json",
    "retrieval": "results_retrieval.json",
    "cross_view": "results_cross_view.json",
    "zero_shot": "results_zero_shot.json",
}
NUM_EXO = 5


def _all_tasks(home: str, output: str) -> dict[str, list[int]]:
    """All tasks, and which segments this process ran through the model in each."""
    seen: dict[str, list[int]] = {}
    for owner in (tester.SegmentScorer, features.FeatureExtractor):
        _watched(owner, seen)
    for task in ("recognition", "features", "retrieval", "cross_view", "zero_shot"):
        dataset = "ego_exo" if task == "features" else "epickitchen"
        cfg = tiny_run_cfg(Path(home), output, TEST__TASK=task, TEST__DATASET=dataset)
        seen["now"] = []
        run_test(cfg)
        seen[task] = seen.pop("now")
    return seen


def _watched(owner: type, seen: dict[str, list[int]]) -> None:
    before = owner.__call__  # type: ignore[operator]

    def watch(self, segment):
        seen["now"].append(segment.index)
        return before(self, segment)

    owner.__call__ = watch  # type: ignore[operator]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[dict]]:
    """OUTPUT_DIR of one and of two processes, and what each of the two ran."""
    home = make_home(tmp_path_factory.mktemp("home"))
    run_in_processes(1, _all_tasks, str(home), "one")
    seen = run_in_processes(2, _all_tasks, str(home), "two")
    return home / "one", home / "two", seen


def test_each_segment_is_run_once(outputs: tuple[Path, Path, list[dict]]) -> None:
    _, _, seen = outputs
    both = {task: sorted(seen[0][task] + seen[1][task]) for task in seen[0]}
    ego, exo = list(range(len(SEGMENTS))), list(range(NUM_EXO))
    assert both == {
        "recognition": ego,
        "features": sorted(ego + exo),
        "retrieval": [],
        "cross_view": [],
        "zero_shot": [],
    }
    assert all(part["recognition"] for part in seen)


def _recognition(home: str, output: str) -> list[int]:
    """Recognition alone, and which segments this process ran through the model."""
    seen: dict[str, list[int]] = {"now": []}
    _watched(tester.SegmentScorer, seen)
    run_test(tiny_run_cfg(Path(home), output))
    return seen["now"]


def test_scores_of_four_processes_are_the_same(outputs: tuple[Path, Path, list[dict]]) -> None:
    one = outputs[0]
    seen = run_in_processes(4, _recognition, str(one.parent), "four")
    assert all(seen)
    assert sorted(index for part in seen for index in part) == list(range(len(SEGMENTS)))
    four = one.parent / "four"
    first, second = (read_predictions(folder / "predictions.pkl") for folder in (one, four))
    np.testing.assert_array_equal(first.narration_id, second.narration_id)
    for head in ("verb", "noun"):
        np.testing.assert_array_equal(first.scores[head], second.scores[head])
    name = RESULTS["recognition"]
    assert (one / name).read_bytes() == (four / name).read_bytes()


@pytest.mark.parametrize("task", list(RESULTS))
def test_results_are_the_same_bytes(outputs: tuple[Path, Path, list[dict]], task: str) -> None:
    one, two = ((folder / RESULTS[task]).read_bytes() for folder in outputs[:2])
    assert one == two


def test_predictions_and_features_are_the_same(outputs: tuple[Path, Path, list[dict]]) -> None:
    one, two = outputs[:2]
    first, second = (read_predictions(folder / "predictions.pkl") for folder in (one, two))
    names = [f"{video}_{number}" for number, (video, *_) in enumerate(SEGMENTS)]
    assert first.narration_id.tolist() == second.narration_id.tolist() == names
    np.testing.assert_array_equal(first.scores["verb"], second.scores["verb"])
    for view, count in (("ego", len(SEGMENTS)), ("exo", NUM_EXO)):
        records = []
        for folder in (one, two):
            rows = list(shards.read_records(sorted((folder / "features" / view).iterdir())))
            assert sorted(index for index, _ in rows) == list(range(count))
            records.append(dict(rows))
        for index in range(count):
            for name, array in records[0][index].items():
                np.testing.assert_array_equal(array, records[1][index][name])
