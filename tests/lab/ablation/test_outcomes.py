"""The comparison on a data set of one's own, with one head."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slowfast.datasets.registry import SOURCE_REGISTRY, DataSource, register_source
from slowfast.datasets.types import Annotations, FrameStore, Segment
from slowfast.lab.ablation.ablate import ablate
from slowfast.lab.ablation.plan import read_plan
from slowfast.lab.ablation.runner import Machine
from slowfast.utils.errors import UserError

# Steps of the segments; step 2 does not occur in training.
STEPS = {"train": (0, 1), "test": (0, 1, 2, 0)}

# Right for the first segments, one more of them at a higher learning rate.
STAND_IN = """
import pathlib, pickle, sys
import numpy as np
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
right = 1 + (float(given["SOLVER.BASE_LR"]) == 2)
scores = np.zeros((4, 4))
for i, step in enumerate((0, 1, 2, 0)):
    scores[i, step if i < right else 3] = 3
content = {"step_output": scores, "narration_id": np.array(["s0", "s1", "s2", "s3"])}
path = pathlib.Path(given["OUTPUT_DIR"]) / "predictions.pkl"
path.write_bytes(pickle.dumps(content))
"""


class Steps(DataSource):
    """Segments with one step each."""

    def annotations(self) -> Annotations:
        return Annotations(
            [
                Segment(f"s{n}", "v", "", 1 + 30 * n, 30 + 30 * n, "", ((step,),))
                for n, step in enumerate(STEPS[self.split])
            ]
        )

    def frames(self, annotations: Annotations) -> FrameStore:
        raise NotImplementedError


@pytest.fixture
def plan(content, plan_file, monkeypatch):
    entries = {name: SOURCE_REGISTRY.get(name) for name in SOURCE_REGISTRY}
    monkeypatch.setattr(SOURCE_REGISTRY, "_entries", entries)
    register_source("steps", views=("ego",), heads=("step",))(Steps)
    del content["arms"]["start"], content["common"]["DATA.PATH_TO_DATA_DIR"]
    del content["arms"]["better"]["set"]["TRAIN.CHECKPOINT_FILE_PATH"]
    content["common"] |= {
        "TRAIN.DATASET": "steps",
        "TEST.DATASET": "steps",
        "MODEL.HEAD_NAMES": ["step"],
        "MODEL.NUM_CLASSES_LIST": [4],
        "TRAIN.BEST_METRIC": "step_top1",
    }
    return read_plan(plan_file())


class Quiet:
    def say(self, text):
        pass

    def show(self, bars):
        pass


def test_arms_are_compared_by_the_heads_of_the_data_set(plan, tmp_path: Path) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    command = [sys.executable, str(script)]
    result = ablate(plan, tmp_path / "out", command, Quiet(), Machine())
    assert not result.failed
    assert "Highest mean of step over all segments: better." in result.text
    assert "25.0 ± 0.0" in result.text
    assert "50.0 ± 0.0" in result.text
    assert "## Unseen combinations: 1 segments" in result.text
    assert (tmp_path / "out" / "figure.png").is_file()


def test_arms_have_the_same_heads(content, plan_file, plan) -> None:
    content["arms"]["better"]["set"]["MODEL.NUM_CLASSES_LIST"] = [5]
    with pytest.raises(UserError, match="the arms have different heads"):
        read_plan(plan_file())
