"""Speed options do not change results: a few steps with each option and in plain fp32.

Bounds are relative differences of the losses of four steps, and of the weights after them (to how
far the plain training moved them).
"""

import pytest
import torch

from slowfast.engine.step.precision import HALF
from slowfast.models.recognizer import Recognizer
from tests.engine.tiny_updates import batch_of, make_update, update_cfg

STEPS = 4
# float32 sums in another order: 1e-7 per sum, some layers deep, amplified by batch norms over few
# values and by the steps in between.
ROUNDING = {"losses": 1e-4, "weights": 1e-2}
# The same operations in the same order.
SAME = {"losses": 0.0, "weights": 0.0}
# bf16 has 8 bits: each activation is off by up to 4e-3, at random, and losses over few clips
# average little of that out. Directions of small gradients are noise: the weights end within half
# of the way that they went.
BF16 = {"losses": 5e-2, "weights": 0.5}
# 11 bits: 5e-4 for activations; but small gradients vanish for lack of exponent bits, so that the
# weights gain less than the three bits: half of bf16's bound (0.105 and 0.26 were measured).
FP16 = {"losses": 1e-2, "weights": 0.25}

OPTIONS = {
    "channels last": ({"MODEL__CHANNELS_LAST": True}, ROUNDING),
    "2-D convolutions": ({"MODEL__CONV_2D": True}, ROUNDING),
    "channels last, 2-D": ({"MODEL__CHANNELS_LAST": True, "MODEL__CONV_2D": True}, ROUNDING),
    "fused optimizer": ({"SOLVER__FUSED": "always"}, ROUNDING),
    "recomputed stages": ({"MODEL__RECOMPUTE_STAGES": ["s1", "s3", "s5"]}, SAME),
    "average": ({"SOLVER__EMA_DECAY": 0.9}, SAME),
    "clipping far away": ({"SOLVER__CLIP_GRAD_VAL": 1e6}, SAME),
    "bf16": ({"TRAIN__PRECISION": "bf16"}, BF16),
    "fp16": ({"TRAIN__PRECISION": "fp16"}, FP16),
}


def trained(**keys):
    """(losses of the steps, weights after them, weights before)."""
    keys = {"SOLVER__BASE_LR": 0.002, "SOLVER__WARMUP_START_LR": 0.002, **keys}
    cfg = update_cfg(BN__NORM_TYPE="batchnorm", **keys)
    update = make_update(cfg, double=False)
    if update.loss_scale:
        # Where it would settle: the first steps of a training run halve it until nothing overflows.
        update.loss_scale.value.fill_(2.0**6)
    for module in update.model.modules():
        if isinstance(module, Recognizer):
            # A config may not ask for fp16 on a CPU.
            module.autocast_backbone(HALF.get(cfg.TRAIN.PRECISION))
    before = [p.detach().clone() for p in update.model.parameters()]
    losses = []
    for iteration in range(STEPS):
        output, finite = update(batch_of(4, iteration, double=False), 0, iteration)
        assert finite
        losses.append(output.total.item())
    return losses, list(update.model.parameters()), before


@pytest.fixture(scope="module")
def plain():
    return trained()


def distance(left, right):
    left = [p.detach() for p in left]
    return float(torch.stack([(a - b).norm() for a, b in zip(left, right, strict=True)]).norm())


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_stays_within_its_bound(name, plain):
    keys, bound = OPTIONS[name]
    expected, weights, before = plain
    losses, ours, _ = trained(**keys)
    worst = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
    moved = distance(ours, weights) / distance(weights, before)
    assert worst <= bound["losses"]
    assert moved <= bound["weights"]


def test_other_work_is_beyond_the_bounds(plain):
    """A larger learning rate moves the weights twice as far."""
    _, weights, before = plain
    _, ours, _ = trained(SOLVER__BASE_LR=0.004, SOLVER__WARMUP_START_LR=0.004)
    assert distance(ours, weights) / distance(weights, before) > BF16["weights"]
