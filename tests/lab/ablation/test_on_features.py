"""Arms that train on the features that other arms extract, as in configs/ablation/features.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from slowfast.config import load_config
from slowfast.lab.ablation.ablate import prepare
from slowfast.lab.ablation.outcomes import read_outcomes
from slowfast.lab.ablation.plan import read_plan
from slowfast.lab.ablation.runs import Record, plan_runs
from tests.commands import SHORT_RUN, SUML_TINY
from tests.faults.trainings import run_here

# Pooled features of the two pathways of SHORT_RUN's model.
WIDTH = 4 * 32 + 2 * 32
LISTS = "EPIC_100_train.csv,EPIC_100_validation.csv"
PLAN = {
    "base": str(SUML_TINY),
    "seeds": [1],
    "compare_to": "end_to_end",
    "common": {
        **dict(zip(SHORT_RUN[::2], SHORT_RUN[1::2], strict=True)),
        **{"SOLVER.MAX_EPOCH": 1, "TENSORBOARD.ENABLE": False, "DATA_LOADER.NUM_WORKERS": 0},
        **{"TEST.NUM_ENSEMBLE_VIEWS": 2, "TEST.NUM_SPATIAL_CROPS": 1},
    },
    "arms": {
        "end_to_end": {"about": "SUM-L"},
        "features": {
            "about": "its features",
            "set": {
                "TRAIN.ENABLE": False,
                "TEST.CHECKPOINT_FILE_PATH": "{checkpoint:end_to_end}",
                "TEST.TASK": "features",
                "TEST.DATASET": "ego_exo",
                "TEST.DATA_LIST": LISTS,
                "TEST.EXO_SPLIT": "train",
            },
        },
        "heads": {
            "about": "SUM-L on them",
            "set": {
                "TRAIN.ON_FEATURES": True,
                "MODEL.BACKBONE": f"features:{WIDTH}",
                "FEATURES.EGO": ["{features:features}/ego"],
                "FEATURES.EXO": ["{features:features}/exo"],
            },
        },
    },
}


def test_heads_train_on_the_features_of_another_arm(
    sample_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PLAN))
    plan = read_plan(tmp_path / "tiny.yaml")
    prepare(plan)
    runs = plan_runs(plan, tmp_path / "out", "code")
    assert [run.arm.name for run in runs] == ["end_to_end", "features", "heads"]
    for run in runs:
        Record(run.made_with).write(run.folder)
        assert run_here(load_config(plan.base, run.overrides)) == 0
        Record(run.made_with, finished=True).write(run.folder)
    assert read_outcomes(plan, runs).arms.keys() == {"end_to_end", "heads"}
