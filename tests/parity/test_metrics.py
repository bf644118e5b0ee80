"""Top-k counts and view ensembling as the published code computes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slowfast.evaluation.ensemble import ViewEnsemble
from slowfast.evaluation.ranking import label_ranks

KS = (1, 5)


@pytest.fixture(scope="module")
def arrays(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "metrics.npz") as stored:
        return {name: stored[name] for name in stored}


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict:
    return json.loads((golden / "metrics.json").read_text())


def test_topk_counts(arrays: dict[str, np.ndarray], expected: dict) -> None:
    assert len(expected["topk"]) == 4
    for case in expected["topk"]:
        name = f"case{case['case']}"
        verb, noun = (label_ranks(arrays[f"{name}_p{k}"], arrays[f"{name}_l{k}"]) for k in "vn")
        assert [int((verb < k).sum()) for k in KS] == case["verb_topks_correct"]
        assert [int((noun < k).sum()) for k in KS] == case["noun_topks_correct"]
        both = [int(((verb < k) & (noun < k)).sum()) for k in KS]
        assert both == case["action_multitask"]


@pytest.mark.parametrize("scores", ["probs", "logits", "negative_logits"])
@pytest.mark.parametrize("method", ["sum", "max"])
def test_view_ensembling(
    arrays: dict[str, np.ndarray], expected: dict, scores: str, method: str
) -> None:
    views, order = arrays[f"meter_{scores}"], arrays["meter_order"]
    ensemble = ViewEnsemble(method)
    for view in order:
        ensemble.add(view // 30, [views[view : view + 1]])
    joined = np.stack([ensemble.pop(video)[0] for video in range(5)])
    stored = arrays[f"meter_{scores}_{method}_preds"].astype(np.float64)
    if method == "sum":
        stored = stored / 30
    else:
        # The published maximum starts at 0; ours is a true one.
        joined = np.maximum(joined, 0)
    # The published accumulator is float32: 30 roundings of 6e-8 relative.
    np.testing.assert_allclose(joined, stored, rtol=3e-6, atol=1e-7)
    (stats,) = (
        case["stats"]
        for case in expected["test_meter"]
        if (case["input"], case["method"]) == (scores, method)
    )
    if method == "sum" or scores == "probs":
        ranks = label_ranks(joined, arrays["meter_labels"])
        assert f"{100 * (ranks < 1).mean():.2f}" == stats["top1_acc"]
        assert f"{100 * (ranks < 5).mean():.2f}" == stats["top5_acc"]
