"""A small ablation through its command: interrupted, resumed, compared, and guarded."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from slowfast.config import load_config
from slowfast.datasets import build_dataset
from slowfast.engine.checkpoints.weights import part_of
from slowfast.evaluation.predictions import read_predictions
from tests.commands import SUML_TINY, TOOLS, assert_one_line_error, environment, run_tool

SEEDS = (1, 2)
ARMS = {
    "ego": {
        "about": "ego only",
        "set": {
            "MODEL.MODEL_NAME": "MultiTaskSlowFast",
            "TRAIN.DATASET": "epickitchen",
            "SUML.ENABLE": False,
        },
    },
    "text": {
        "about": "ego and its text",
        "set": {
            "SUML.WEIGHTS.EXO_CLS": 0,
            "SUML.WEIGHTS.EXO_TEXT": 0,
            "SUML.ALIGN.KIND": "none",
        },
    },
    "exo": {"about": "text and exo, not aligned", "set": {"SUML.ALIGN.KIND": "none"}},
}
PLAN = {
    "about": "the smallest ablation",
    "base": str(SUML_TINY),
    "seeds": list(SEEDS),
    "compare_to": "ego",
    "also_compare": [["exo", "text"]],
    "common": {
        "DATA_LOADER.NUM_WORKERS": 0,
        "LOG_PERIOD": 1,
        "TRAIN.BATCH_SIZE": 8,
        "TRAIN.CHECKPOINT_PERIOD": 1,
        "RESNET.WIDTH_PER_GROUP": 4,
        "SLOWFAST.BETA_INV": 2,
        "DATA.TRAIN_JITTER_SCALES": [32, 40],
        "DATA.TRAIN_CROP_SIZE": 32,
        "DATA.TEST_CROP_SIZE": 32,
        "TEST.NUM_ENSEMBLE_VIEWS": 1,
        "TEST.NUM_SPATIAL_CROPS": 1,
        "TENSORBOARD.ENABLE": False,
        "SOLVER.MAX_EPOCH": 2,
    },
    "arms": ARMS,
}
OUT = Path("runs/ablation/tiny")


@pytest.fixture(scope="module")
def home(sample_home) -> Path:
    """Folder in which the plan was run with two runs at a time, after an interrupted start."""
    (sample_home / "tiny.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    interrupt_after_a_checkpoint(sample_home)
    ended = run_tool("ablate.py", "tiny.yaml", "--jobs", 2, cwd=sample_home)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert ": started again, " in ended.stderr
    assert "## Unseen combinations" in ended.stdout
    return sample_home


def interrupt_after_a_checkpoint(home: Path) -> None:
    command = [sys.executable, str(TOOLS / "ablate.py"), "tiny.yaml", "--jobs", "2"]
    # What it writes is of no matter here, and a full pipe would stop it.
    runner = subprocess.Popen(
        command, cwd=home, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list((home / OUT).glob("*/*/checkpoints/*00001.pyth")):
        assert runner.poll() is None, "the ablation ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(60) == 143
    states = [json.loads(path.read_text()) for path in (home / OUT).glob("*/*/ablation.json")]
    assert 2 <= len(states) < len(SEEDS) * len(ARMS)
    assert not all(state["finished"] for state in states)


def records(home: Path) -> dict[str, float]:
    """When each run's marker was written."""
    return {str(path): path.stat().st_mtime for path in (home / OUT).glob("*/*/ablation.json")}


def test_the_interrupted_run_was_resumed(home):
    logs = [path.read_text() for path in (home / OUT).glob("*/*/log.txt")]
    assert len(logs) == len(SEEDS) * len(ARMS)
    assert 1 <= sum("resumed from" in log for log in logs) <= 2


def test_exo_without_alignment_leaves_the_ego_weights_bit_for_bit(home):
    for seed in SEEDS:
        text, exo = (
            torch.load(
                home / OUT / arm / f"seed_{seed}/checkpoints/checkpoint_epoch_00002.pyth",
                weights_only=True,
            )["model_state"]
            for arm in ("text", "exo")
        )
        ego = {name for name in text if not part_of(name).is_exo}
        assert {"s1.pathway0_stem.conv.weight", "headepic100.projections.0.weight"} < ego
        assert [name for name in sorted(ego) if not torch.equal(text[name], exo[name])] == []
        assert any(not torch.equal(text[name], exo[name]) for name in text.keys() - ego)


def test_the_table_against_a_hand_computation(home):
    """Means and deviations of the arms, and the difference, from the prediction files."""
    with (home / "data/sample/epic-100/annotations/EPIC_100_validation.csv").open() as file:
        rows = {row["narration_id"]: row for row in csv.DictReader(file)}
    with (home / "data/sample/epic-100/annotations/EPIC_100_train.csv").open() as file:
        trained = {(row["verb_class"], row["noun_class"]) for row in csv.DictReader(file)}
    unseen = {
        name for name, row in rows.items() if (row["verb_class"], row["noun_class"]) not in trained
    }
    assert 0 < len(unseen) < len(rows)
    table = json.loads((home / OUT / "table.json").read_text())
    assert table["segments"] == {
        "all": len(rows),
        "seen": len(rows) - len(unseen),
        "unseen": len(unseen),
    }

    def verb_top1(arm: str, seed: int, names: set[str]) -> float:
        found = read_predictions(home / OUT / arm / f"seed_{seed}" / "predictions.pkl")
        hits = [
            int(scores.argmax()) == int(rows[str(name)]["verb_class"])
            for name, scores in zip(found.narration_id, found.scores["verb"], strict=True)
            if str(name) in names
        ]
        return 100 * sum(hits) / len(hits)

    values = pd.DataFrame(table["values"]).query("kind == 'verb'")
    found = values.set_index(["arm", "reference", "subset"])
    for subset, names in (("all", set(rows)), ("unseen", unseen)):
        by_seed = {arm: [verb_top1(arm, seed, names) for seed in SEEDS] for arm in ARMS}
        for arm, tops in by_seed.items():
            mean = found.loc[arm, "", subset]
            assert mean.value == pytest.approx(np.mean(tops))
            assert mean.deviation == pytest.approx(np.std(tops, ddof=1))
            assert values_by_seed(table, arm, subset, "verb") == pytest.approx(tops)
        gain = found.loc["text", "ego", subset]
        expected = np.mean(by_seed["text"]) - np.mean(by_seed["ego"])
        assert gain.value == pytest.approx(expected)
        assert gain.low <= expected <= gain.high
    # Equal weights give equal predictions.
    equal = values[values.reference == "text"]
    assert len(equal) == 3
    assert (equal[["value", "low", "high"]] == 0).all(axis=None)


def values_by_seed(table, arm: str, subset: str, kind: str) -> list[float]:
    found = {
        row["seed"]: row["value"]
        for row in table["by_seed"]
        if (row["arm"], row["subset"], row["kind"]) == (arm, subset, kind)
    }
    return [found[seed] for seed in SEEDS]


def test_results_agree_with_those_of_the_runs(home):
    table = json.loads((home / OUT / "table.json").read_text())
    for arm in ARMS:
        for kind in ("verb", "noun", "action"):
            values = [
                json.loads((home / OUT / arm / f"seed_{seed}" / "results.json").read_text())
                for seed in SEEDS
            ]
            expected = [value[f"{kind}_top1"] for value in values]
            assert values_by_seed(table, arm, "all", kind) == pytest.approx(expected)


def test_finished_runs_are_skipped_and_others_not_mixed_in(home):
    before = records(home)
    ended = run_tool("ablate.py", "tiny.yaml", cwd=home)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert "6 of 6 runs are finished already" in ended.stderr
    assert records(home) == before

    arms = {**ARMS, "text": {**ARMS["text"], "set": {**ARMS["text"]["set"], "LOG_PERIOD": 2}}}
    (home / "other").mkdir(exist_ok=True)
    changed = home / "other" / "tiny.yaml"
    changed.write_text(yaml.safe_dump({**PLAN, "arms": arms}, sort_keys=False))
    ended = run_tool("ablate.py", "other/tiny.yaml", cwd=home)
    assert_one_line_error(ended, "2 of 6 runs", "text seed 1 (config)", "--fresh")
    assert records(home) == before


def test_shuffled_pairs_hand_candidates_to_other_segments(sample_home, monkeypatch):
    """SUML.PAIRS.SHUFFLE, by RNG_SEED: the same rows in another order."""
    monkeypatch.chdir(sample_home)

    def candidates(*overrides: object) -> np.ndarray:
        return build_dataset("ego_exo", load_config(SUML_TINY, overrides), "train").pairs.indices

    plain = candidates()
    shuffled = [candidates("SUML.PAIRS.SHUFFLE", True, "RNG_SEED", seed) for seed in (1, 1, 2)]
    assert (candidates("RNG_SEED", 1) == plain).all()
    assert (shuffled[0] == shuffled[1]).all()
    for other in (shuffled[0], shuffled[2]):
        assert (other != plain).any(axis=1).mean() > 0.5
        assert sorted(map(tuple, other)) == sorted(map(tuple, plain))
    assert (shuffled[0] != shuffled[2]).any()
