"""Learning-rate schedules and parameter groups equal the published ones."""

import json

import numpy as np
import pytest
import torch

from slowfast.config import get_cfg
from slowfast.engine.solver import lr_at_epoch, parameter_groups
from slowfast.models.build import build_model
from slowfast.models.published_names import published_parameter_order

SOLVER_KEYS = {
    *("BASE_LR", "LR_POLICY", "STEPS", "LRS", "MAX_EPOCH"),
    *("WARMUP_EPOCHS", "WARMUP_START_LR"),
}


def test_every_stored_schedule(golden):
    stored = json.loads((golden / "lr_schedules.json").read_text())
    values = np.load(golden / "lr_schedules.npz")
    assert len(stored) >= 7
    for name, options in stored.items():
        cfg = get_cfg()
        for key in SOLVER_KEYS:
            cfg.SOLVER[key] = options[key]
        ours = [lr_at_epoch(cfg, float(epoch)) for epoch in values[f"{name}_epoch"]]
        # 1e-12 relative to BASE_LR: the same formula in another order of operations.
        atol = 1e-12 * options["BASE_LR"]
        np.testing.assert_allclose(ours, values[f"{name}_lr"], rtol=1e-12, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", ["a_r101", "b_r101"])
def test_parameter_groups(golden, name):
    stored = json.loads((golden / "optimizer_groups.json").read_text())[name]
    cfg = get_cfg()
    cfg.TASK = "epic100"
    cfg.RESNET.DEPTH = 101
    cfg.RESNET.NUM_BLOCK_TEMP_KERNEL = [[3, 3], [4, 4], [23, 23], [3, 3]]
    cfg.MODEL.MODEL_NAME = "MultiTaskSlowFast" if name == "a_r101" else "EgoExoSlowFast"
    cfg.SUML.ENABLE = name == "b_r101"
    with torch.device("meta"):
        model = build_model(cfg)
    published = {id(p): n for n, p in published_parameter_order(model)}
    groups = parameter_groups(model, weight_decay=1e-4, bn_weight_decay=0.0)
    assert len(groups) == len(stored["groups"])
    for ours, theirs in zip(groups, stored["groups"], strict=True):
        assert ours["weight_decay"] == theirs["weight_decay"]
        assert [published[id(p)] for p in ours["params"]] == theirs["names"]
