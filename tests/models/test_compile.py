"""Compiled backbones: one graph without a break, and few compilations.

Traced by torch and run by its own operators, because a machine may lack a C++ compiler.
"""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from slowfast.models.convolution import use_2d_convolutions
from slowfast.models.norms import convert_norms
from slowfast.models.slowfast import FusionShape, SlowFastBackbone, StageShapes


@pytest.fixture
def compiler():
    """Counts the graphs of all backbones."""
    torch._dynamo.reset()
    yield CompileCounter()
    torch._dynamo.reset()


def compiled(compiler, norm="batchnorm"):
    """A SlowFast with one stage: every kind of layer. A graph break is an error."""
    one_stage = StageShapes([1], [[1, 1]], [[2, 2]], [[1, 1]])
    backbone = SlowFastBackbone(one_stage, FusionShape(2, 7), width=4, alpha=4, beta_inv=2)
    convert_norms(backbone, norm)
    use_2d_convolutions(backbone)
    backbone.compile(backend=compiler, fullgraph=True)
    return backbone


@pytest.mark.parametrize("norm", ["batchnorm", "frozen", "sync_batchnorm"])
def test_a_backbone_is_one_graph(norm, make_clip, compiler):
    """And so are both halves of a dual model, with different weights."""
    halves = [compiled(compiler, norm) for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        features = [half.train()(make_clip()) for half in halves]
    assert compiler.frame_count == 1
    assert not features[0][0].equal(features[1][0])


def test_recompilations_are_bounded(make_clip, compiler):
    """For any numbers of clips two graphs in training, one more in evaluation."""
    backbone = compiled(compiler)
    graphs = []
    for training in (True, False, True, False):
        backbone.train(training)
        for clips in (4, 3, 2, 5):
            with torch.set_grad_enabled(training):
                backbone(make_clip(clips=clips))
        graphs.append(compiler.frame_count)
    assert graphs == [2, 3, 3, 3]


def test_two_halves_in_all_modes_stay_compiled(make_model):
    """Beyond its limit torch runs a backbone without compilation."""
    with torch._dynamo.config.patch(recompile_limit=8):
        make_model(MODEL__COMPILE=True)
        # Halves, training with and without gradients and test, precisions, numbers of clips.
        assert torch._dynamo.config.recompile_limit >= 2 * 3 * 2 * 2
