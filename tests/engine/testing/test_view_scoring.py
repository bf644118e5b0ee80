"""Weighted views in chunks, against all views one by one."""

import numpy as np
import pytest
import torch
from torch import nn

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import SegmentViews, View
from slowfast.engine.testing.view_scoring import SegmentScorer, SegmentScores, ViewJoin
from tests.evaluation.verb_noun import verb_noun_heads

SIZE = 6


class Model(nn.Module):
    """Scores of two heads from the mean of the fast pathway's channels and corners."""

    def __init__(self, activated: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(6, k, generator=draw) for k in (4, 5)]
        self.activated = activated

    def forward(self, clip):
        fast = clip[1]
        features = torch.cat([fast.mean((2, 3, 4)), fast[:, :, 0, 0, 0]], dim=1)
        scores = [features @ w for w in self.weights]
        return [s.softmax(1) for s in scores] if self.activated else scores


@pytest.fixture
def segment():
    draw = torch.Generator().manual_seed(1)
    frames = torch.randint(0, 256, (9, SIZE, 10, 3), generator=draw, dtype=torch.uint8)
    views = [
        View(tuple(range(start, start + 4)), 0, left, weight)
        for start, left, weight in ((0, 0, 1), (0, 4, 2), (3, 2, 1), (5, 0, 3), (5, 4, 1))
    ]
    return SegmentViews(frames, views, (torch.tensor(1), torch.tensor(2)), 7, SIZE)


def scorer(activated: bool, chunk_views: int, method: str) -> SegmentScorer:
    return SegmentScorer(
        Model(activated),
        DeviceTransform((0.45,) * 3, (0.225,) * 3, "bgr", 2),
        ViewJoin(verb_noun_heads(4, 5), method, logits=not activated),
        chunk_views=chunk_views,
        device=torch.device("cpu"),
    )


def one_by_one(segment, activated):
    """Per head (30 views or so, K) of every view, equal ones repeated."""
    model, transform = Model(activated), DeviceTransform((0.45,) * 3, (0.225,) * 3, "bgr", 2)
    rows = []
    for position, view in enumerate(segment.views):
        scores = model(transform.clips(segment.batch(position, position + 1)))
        rows += [[s.double().numpy()[0] for s in scores]] * view.weight
    return [np.stack(head) for head in zip(*rows, strict=True)]


@pytest.mark.parametrize("chunk_views", [1, 2, 5, 30])
@pytest.mark.parametrize(("method", "join"), [("sum", np.mean), ("max", np.max)])
def test_chunks_equal_single_views(segment, chunk_views, method, join):
    scored = scorer(True, chunk_views, method)(segment)
    for ours, views in zip(scored.joined, one_by_one(segment, True), strict=True):
        # 1e-6: float32 forwards of other batch sizes.
        np.testing.assert_allclose(ours, join(views, axis=0), atol=1e-6)
    for ours, views in zip(scored.probabilities, one_by_one(segment, True), strict=True):
        np.testing.assert_allclose(ours, views.mean(axis=0), atol=1e-6)
    assert [int(label) for label in scored.labels] == [1, 2]


def test_classes_of_a_multi_label_head_are_independent(segment):
    heads = tuple(head._replace(multi_label=True) for head in verb_noun_heads(4, 5))
    of_logits = SegmentScorer(
        Model(False),
        DeviceTransform((0.45,) * 3, (0.225,) * 3, "bgr", 2),
        ViewJoin(heads, "sum", logits=True),
        chunk_views=2,
        device=torch.device("cpu"),
    )
    scored = of_logits(segment)
    for ours, views in zip(scored.probabilities, one_by_one(segment, False), strict=True):
        np.testing.assert_allclose(ours, (1 / (1 + np.exp(-views))).mean(axis=0), atol=1e-6)


def test_a_record_knows_its_heads(segment):
    scored = scorer(True, 2, "sum")(segment)
    heads = verb_noun_heads(4, 5)
    record = scored.record(heads)
    assert len(record) == 6
    back = SegmentScores.from_record(record, heads)
    for field in ("joined", "probabilities", "labels"):
        for one, other in zip(getattr(back, field), getattr(scored, field), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(KeyError, match="joined_hand"):
        SegmentScores.from_record(record, [heads[0], heads[1]._replace(name="hand")])
    with pytest.raises(ValueError, match="zip"):
        scored.record(heads[:1])


def test_logits_are_joined_as_logits_and_averaged_as_probabilities(segment):
    scored = scorer(False, 2, "sum")(segment)
    for ours, views in zip(scored.joined, one_by_one(segment, False), strict=True):
        np.testing.assert_allclose(ours, views.mean(axis=0), atol=1e-5)
    for ours, views in zip(scored.probabilities, one_by_one(segment, True), strict=True):
        np.testing.assert_allclose(ours, views.mean(axis=0), atol=1e-6)
