"""Caffe2 blob names find the published parameter names; whole files load."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.engine.checkpoint import Required, load_weights, published_state_dict
from slowfast.engine.checkpoints.weight_names import caffe2_name, from_caffe2
from slowfast.models import build_model
from tests.parity.golden_weights import manifest, manifest_cfg


def _stored(golden: Path) -> dict:
    return json.loads((golden / "caffe2_names.json").read_text())


@pytest.mark.parametrize(("model", "count"), [("slowfast_r50", 552), ("slowfast_nln_r50", 612)])
def test_every_pair(golden: Path, model: str, count: int) -> None:
    pairs = _stored(golden)[model]["pairs"]
    assert len(pairs) == count
    assert [[blob, caffe2_name(blob)] for blob, _ in pairs] == pairs


def test_deeper_stages_and_other_numbers_follow_the_rules() -> None:
    assert caffe2_name("t_res4_22_branch2c_bn_riv") == (
        "s4.pathway1_res22.branch2.c_bn.running_var"
    )
    assert caffe2_name("t_res4_22_branch2c_bn_subsample_w") == "s4_fuse.conv_f2s.weight"


def test_solver_state_is_left_out_and_other_blobs_keep_their_names(golden: Path) -> None:
    for blob, _ in _stored(golden)["not_loaded_examples"]:
        assert from_caffe2({blob: 1}) == {}
    for blob in ("conv1", "xconv1_w", "res2_0_branch3_w", "t_pred_w", "conv1_w_extra"):
        assert from_caffe2({blob: 1}) == {blob: 1}


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_whole_file_fills_the_kinetics_model(golden: Path, protocol: int, tmp_path: Path) -> None:
    model = build_model(manifest_cfg(manifest(golden, "e_k400_r50")))
    own = published_state_dict(model)
    pairs = _stored(golden)["slowfast_r50"]["pairs"]
    draw = np.random.default_rng(0)
    blobs = {
        blob: draw.standard_normal(tuple(own[name].shape), dtype=np.float32) for blob, name in pairs
    }
    path = tmp_path / "SLOWFAST_8x8_R50.pkl"
    solver = {"lr": np.float32(0.1), "model_iter": 3, "conv1_w_momentum": np.ones(2)}
    path.write_bytes(pickle.dumps({"blobs": {**blobs, **solver}}, protocol=2))
    report = load_weights(path, model, checkpoint_type="caffe2", required=Required.ALL)
    path.unlink()  # 140 MB
    assert len(report.loaded) == 552
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], {})
    for blob, name in pairs:
        assert torch.equal(own[name], torch.from_numpy(blobs[blob])), name
