"""Gradients of the terms against a backward pass of each, and a case by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slowfast.lab.diagnose.gradients import (
    CLASSIFICATION,
    compare_gradients,
    separate_gradients,
    term_gradients,
)
from slowfast.models.published_names import published_state_dict
from slowfast.tasks.build import build_training
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg


def test_a_case_by_hand():
    """Of 3 a^2 + 4 b and 2 a at a = 1, b = 5: (6, 4) and (2, 0)."""
    a, b, unused = (torch.tensor(v, requires_grad=True) for v in (1.0, 5.0, 7.0))
    terms = {CLASSIFICATION: 3 * a**2 + 4 * b, "align": 2 * a, "constant": torch.zeros(())}
    gradients = separate_gradients(terms, [a, b, unused])
    assert {name: g.tolist() for name, g in gradients.items()} == {
        CLASSIFICATION: [6, 4, 0],
        "align": [2, 0, 0],
        "constant": [0, 0, 0],
    }
    # A second batch whose alignment pulls the other way, at half the strength.
    other = {**gradients, "align": np.array([-1.0, 0, 0])}
    found = compare_gradients(batch for batch in (gradients, other))
    length = np.sqrt(52)
    assert found["align"] == pytest.approx((1.5, 1.5 / (1.5 + length), 0), abs=1e-12)
    assert compare_gradients([gradients])["align"].cosine == pytest.approx(6 / length)
    assert found[CLASSIFICATION] == pytest.approx((length, length / (1.5 + length), 1))
    assert found["constant"][:2] == (0, 0)
    assert np.isnan(found["constant"].cosine)


def test_terms_of_a_checkpoint_equal_a_backward_pass_of_each(tmp_path):
    cfg = tiny_cfg(WEIGHTS__ALIGN=0.5)
    torch.manual_seed(0)
    model, task = build_training(cfg)
    checkpoint = tmp_path / "checkpoint.pyth"
    torch.save({"model_state": published_state_dict(model)}, checkpoint)
    # More batches are asked for than the epoch has.
    loader = SimpleNamespace(
        sampler=SimpleNamespace(batches_per_epoch=1),
        rebuild=lambda epoch, number: paired_batch(10 * epoch + number),
    )
    found = term_gradients(cfg, checkpoint, loader, 10, torch.device("cpu"))

    step = task.step(model.train(), paired_batch(0), 0, 0)
    losses = step.losses
    weighted = {
        CLASSIFICATION: losses["ego_verb"] + losses["ego_noun"],
        "align": 0.5 * losses["align"],
        "ego_text": cfg.SUML.WEIGHTS.EGO_TEXT * losses["ego_text"],
        "total": step.total,
    }
    passes = {name: backward(model, loss) for name, loss in weighted.items()}
    total, base = passes.pop("total"), passes[CLASSIFICATION]
    norms = {name: np.linalg.norm(gradient) for name, gradient in passes.items()}
    for name, gradient in passes.items():
        cosine = gradient @ base / norms[name] / norms[CLASSIFICATION]
        wanted = norms[name], norms[name] / sum(norms.values()), cosine
        # Sums of float32 in another order.
        assert found[name] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    silent = {name for name, term in found.items() if term.norm == 0}
    assert silent == {"exo_verb", "exo_noun", "exo_text"}
    np.testing.assert_allclose(sum(passes.values()), total, atol=1e-5 * np.abs(total).max())


def backward(model, loss) -> np.ndarray:
    """Gradient of one loss at the ego backbone, by a backward pass."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    parts = [p.grad.flatten() for p in model.ego.backbone.parameters()]
    return torch.cat(parts).double().numpy()
