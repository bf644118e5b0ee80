"""The published test command, verbatim, on real annotation rows and real JPEG frames.

R101, 280 pixels, 2 x 3 views, weights of the dual model under published names, in two processes.
"""

import importlib.util
import json
import subprocess
import sys
import tarfile
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch

from slowfast.evaluation.predictions import read_predictions
from tests.commands import ROOT, environment

CONFIG = "configs/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101.yaml"
ROWS = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory, golden, real):
    """A working directory like a user's: annotations, frames, a checkpoint, linked configs."""
    home = tmp_path_factory.mktemp("user")
    for name in ("configs", "tools"):
        (home / name).symlink_to(ROOT / name)
    annotations = home / "data" / "epic-100" / "annotations"
    annotations.mkdir(parents=True)
    table = pd.read_csv(real / "EPIC_100_validation.csv")
    rows = table[table.video_id == "P01_11"].iloc[:ROWS]
    rows.to_csv(annotations / "two_rows.csv", index=False)
    frames = home / "data" / "epic-55" / "test_rgb_frames"
    with tarfile.open(real / "frames_epic100_layout.tar") as tar:
        for number in range(1, rows.stop_frame.max() + 1):
            member = tar.getmember(f"P01/P01_11/frame_{number:010d}.jpg")
            tar.extract(member, frames, filter="data")
    (home / "ckpts").mkdir()
    manifest = json.loads((golden / "manifest_b_r101.json").read_text())
    spec = importlib.util.spec_from_file_location("fill", golden / "fill_weights.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    state = OrderedDict(
        (name, torch.from_numpy(fill.golden_array(name, shape)))
        for name, shape, _ in manifest["state_dict"]
        if not name.endswith("num_batches_tracked")
    )
    torch.save({"epoch": 29, "model_state": state}, home / "ckpts" / "NAME.pyth")
    return home


def test_published_command(home):
    command = (
        "-m torch.distributed.launch --nproc_per_node 2 --master_port 23393 tools/run_net.py "
        f"--cfg {CONFIG} TRAIN.CHECKPOINT_FILE_PATH ckpts/NAME.pyth "
        "NUM_GPUS 0 TEST.DATA_LIST two_rows.csv TEST.NUM_ENSEMBLE_VIEWS 2 OUTPUT_DIR out"
    )
    ended = subprocess.run(
        [sys.executable, *command.split()],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    predictions = read_predictions(home / "out" / "predictions.pkl")
    assert predictions.narration_id.tolist() == ["P01_11_0", "P01_11_1"]
    for scores, classes in ((predictions.scores["verb"], 97), (predictions.scores["noun"], 300)):
        assert scores.shape == (ROWS, classes)
        # 1e-4: float32 logarithms of probabilities, summed.
        np.testing.assert_allclose(np.exp(scores.astype(np.float64)).sum(1), 1, atol=1e-4)
    log = (home / "out" / "log.txt").read_text()
    assert "ckpts/NAME.pyth (TRAIN.CHECKPOINT_FILE_PATH)" in log
    assert "global_con_head" in log or "head_lemma" in log or "s1_t" in log
    results = json.loads((home / "out" / "results.json").read_text())
    assert results["num_segments"] == ROWS
