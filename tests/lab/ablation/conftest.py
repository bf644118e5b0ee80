"""A plan of three arms over a toy frame list, and a stand-in for a training run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import SUML_TINY

HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,"
    "start_frame,stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
)
# (verb, noun) of the test segments; (1, 1) and (2, 0) do not occur in training.
TESTED = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (0, 0)]
TRAINED = [(0, 0), (0, 1), (1, 0), (0, 0)]

# Predicts the right verb for the first segments, more of them in arm `better`.
STAND_IN = """
import pathlib, pickle, sys, time
import numpy as np
words = sys.argv[1:]
given = dict(zip(words[::2], words[1::2]))
out = pathlib.Path(given["OUTPUT_DIR"])
with open(out / "calls", "a") as calls:
    calls.write(str(time.time()) + "\\n")
lr, seed = float(given["SOLVER.BASE_LR"]), int(given["RNG_SEED"])
print("the learning rate is", lr)
if lr == 9:
    sys.exit("no such rate")
while lr == 8:
    time.sleep(0.05)
tested = {tested}
verb, noun = np.zeros((len(tested), 6)), np.zeros((len(tested), 8))
for i, (v, n) in enumerate(tested):
    right = i < seed + 2 * (lr == 2)
    verb[i, v if right else 5] = 3
    noun[i, n] = 3
ids = np.array(["P01_11_%d" % i for i in range(len(tested))])
scores = dict(verb_output=verb, noun_output=noun, narration_id=ids)
(out / "predictions.pkl").write_bytes(pickle.dumps(scores))
"""


def frame_list(labels: list[tuple[int, int]], video: str = "P01_11") -> str:
    rows = [
        f"{video}_{i},P01,{video},0,0,0,{40 * i + 1},{40 * i + 30},do it,v,{v},n,{n},[],[]"
        for i, (v, n) in enumerate(labels)
    ]
    return "\n".join([HEADER, *rows]) + "\n"


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "EPIC_100_train.csv").write_text(frame_list(TRAINED, "P01_01"))
    (folder / "EPIC_100_validation.csv").write_text(frame_list(TESTED))
    return folder


@pytest.fixture
def content(annotations: Path) -> dict[str, Any]:
    """A plan: `better` hits two segments more than `plain`; `start` trains only."""
    return {
        "base": str(SUML_TINY.parent / "Ego_tiny.yaml"),
        "seeds": [1, 2],
        "compare_to": "plain",
        "common": {"DATA.PATH_TO_DATA_DIR": str(annotations)},
        "arms": {
            "start": {
                "about": "trains only",
                "set": {"TEST.ENABLE": False, "SOLVER.BASE_LR": 1},
            },
            "plain": {"about": "the base", "set": {"SOLVER.BASE_LR": 1}},
            "better": {
                "about": "hits more",
                "set": {
                    "SOLVER.BASE_LR": 2,
                    "TRAIN.CHECKPOINT_FILE_PATH": "{checkpoint:start}",
                },
            },
        },
    }


@pytest.fixture
def plan_file(tmp_path: Path, content: dict[str, Any]) -> Callable[[], Path]:
    """Writes `content` as it is then."""

    def write() -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def stand_in(tmp_path: Path) -> list[str]:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.replace("{tested}", repr(TESTED)))
    return [sys.executable, str(script)]
