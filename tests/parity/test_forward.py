"""Eval-mode scores, pooled features and statistics of every stage equal the stored ones."""

import json

import numpy as np
import pytest
import torch

from slowfast.losses import multilabel
from slowfast.models import build_model
from tests.parity.golden_weights import (
    fill,
    golden_clip,
    largest_difference,
    manifest,
    manifest_cfg,
)

# Of the largest value of an array: rounding of float32 through up to 101 layers.
FLOAT32 = 1e-5
# The published code and ours sum in another order; nothing else may differ.
FLOAT64 = 1e-11

CASES = {"a_r101_64": "a_r101", "c_r50_64": "c_r50", "e_k400_r50_64": "e_k400_r50"}
STAGES = ("s1", "s1_fuse", "s2", "s2_fuse", "s3", "s3_fuse", "s4", "s4_fuse", "s5")


@pytest.fixture(scope="module", params=CASES)
def case(request, golden):
    """(stored arrays, model of NO_ACT True, clip)."""
    stored = np.load(golden / f"forward_{request.param}.npz")
    cfg = manifest_cfg(manifest(golden, CASES[request.param]))
    cfg.TEST.NO_ACT = True
    model = fill(golden, build_model(cfg)).eval()
    clip = golden_clip(golden, int(stored["input_seed"]), stored["input_shape"])
    return stored, model, clip


@pytest.fixture(scope="module")
def outputs(case):
    """(logits per task, features of each stage, pooled features) of one forward pass."""
    _, model, clip = case
    features = {}
    hooks = [
        stage.register_forward_hook(
            lambda _, __, out, name=name: features.update({name: [x.clone() for x in out]})
        )
        for name, stage in model.backbone.named_children()
    ]
    with torch.no_grad():
        pooled = model.features(clip)
        logits = model.head.classify(pooled[:, None])
    for hook in hooks:
        hook.remove()
    return logits, features, pooled


def test_the_input_is_the_stored_one(case):
    stored, _, (_, fast) = case
    ends = torch.cat([fast.flatten()[:4], fast.flatten()[-4:]])
    np.testing.assert_array_equal(ends.numpy(), stored["input_first4_last4"])


def test_logits_and_probabilities(case, outputs):
    stored, model, clip = case
    logits, _, _ = outputs
    with torch.no_grad():
        whole = model(clip)
    for task, ours in enumerate(logits):
        assert torch.equal(ours, whole[task])
        assert largest_difference(ours, stored[f"logits{task}"]) < FLOAT32
        assert largest_difference(ours.softmax(1), stored[f"probs{task}"]) < FLOAT32
    assert f"logits{len(logits)}" not in stored


def test_pooled_features(case, outputs):
    assert largest_difference(outputs[2], case[0]["pooled"]) < FLOAT32


def test_every_stage(case, outputs):
    stored, features = case[0], outputs[1]
    names = [f"{stage}/{pathway}" for stage in STAGES for pathway in (0, 1)]
    assert names == list(stored["stage_names"])
    for row, name in enumerate(names):
        stage, pathway = name.split("/")
        x = features[stage][int(pathway)].double()
        assert list(x.shape) == list(stored["stage_shapes"][row]), name
        largest = float(x.abs().max())
        ours = [float(x.mean()), float(x.std(correction=0)), *x.flatten()[:8].tolist()]
        theirs = [stored["stage_mean"][row], stored["stage_std"][row], *stored["stage_first8"][row]]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=FLOAT32 * largest, err_msg=name)


@pytest.mark.parametrize("name", ["c_r50_64", "e_k400_r50_64"])
def test_logits_in_float64(golden, name):
    stored = np.load(golden / f"forward_{name}_float64.npz")
    cfg = manifest_cfg(manifest(golden, CASES[name]))
    cfg.TEST.NO_ACT = True
    model = fill(golden, build_model(cfg)).eval().double()
    clip = golden_clip(golden, int(stored["input_seed"]), stored["input_shape"])
    with torch.no_grad():
        logits = model([x.double() for x in clip])
    for task, ours in enumerate(logits):
        assert largest_difference(ours, stored[f"logits{task}"]) < FLOAT64


@pytest.fixture(scope="module")
def exo_case(golden):
    """(stored arrays, exo model R50, clip)."""
    stored = np.load(golden / "forward_d_lemma_sf_r50_64.npz")
    cfg = manifest_cfg(manifest(golden, "d_lemma_sf_r101"))
    cfg.RESNET.DEPTH = 50
    cfg.RESNET.NUM_BLOCK_TEMP_KERNEL = [[3, 3], [4, 4], [6, 6], [3, 3]]
    cfg.MODEL.DROPOUT_RATE = 0.0
    cfg.TEST.NO_ACT = True
    model = fill(golden, build_model(cfg))
    return stored, model, golden_clip(golden, int(stored["input_seed"]), stored["input_shape"])


def test_exo_model(exo_case):
    stored, model, clip = exo_case
    with torch.no_grad():
        verb, noun = model.eval()(clip)
    assert largest_difference(verb, stored["logits0"]) < FLOAT32
    assert largest_difference(noun, stored["logits1"]) < FLOAT32


def test_exo_losses_with_batch_statistics(golden, exo_case):
    stored, model, clip = exo_case
    labels = json.loads((golden / "train_b_r50.json").read_text())["labels"]
    targets = []
    for key, classes in (("verb_idx", 25), ("noun_idx", 64)):
        rows = torch.zeros(2, classes)
        for row, present in zip(rows, labels[key][:2], strict=True):
            row[present] = 1
        targets.append(rows)
    with torch.no_grad():
        losses = multilabel(model.train()(clip), targets)
    for loss, key in zip(losses, ("train_cls_verb", "train_cls_noun"), strict=True):
        # Batch statistics of the last stage come from 2 x 8 x 2 x 2 values and amplify rounding.
        assert float(loss) == pytest.approx(float(stored[key]), rel=FLOAT32)
