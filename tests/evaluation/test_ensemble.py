"""Joining the views of a segment."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slowfast.evaluation.ensemble import ViewEnsemble

RNG = np.random.default_rng(11)


@pytest.mark.parametrize(("method", "join"), [("sum", np.mean), ("max", np.max)])
def test_chunks_of_views_equal_all_views_at_once(method: str, join) -> None:  # type: ignore[no-untyped-def]
    views = [RNG.standard_normal((9, 5)) - 3, RNG.standard_normal((9, 4)) - 3]
    ensemble = ViewEnsemble(method)
    for start, stop in ((0, 4), (4, 5), (5, 9)):
        ensemble.add(2, [v[start:stop] for v in views])
        ensemble.add(6, [v[start:stop] + 1 for v in views])
    assert ensemble.weight(2) == 9
    for joined, expected in zip(ensemble.pop(2), views, strict=True):
        np.testing.assert_allclose(joined, join(expected, axis=0), rtol=1e-14)
    assert len(ensemble) == 1


def test_a_weight_stands_for_equal_views() -> None:
    views = torch.rand(3, 5)
    once, weighted = ViewEnsemble(), ViewEnsemble()
    once.add(0, [views[[0, 0, 1, 2, 2, 2]]])
    weighted.add(0, [views], [2, 1, 3])
    np.testing.assert_allclose(weighted.pop(0)[0], once.pop(0)[0], rtol=1e-15)


def test_scores_are_joined_in_float64() -> None:
    ensemble = ViewEnsemble()
    small = torch.full((1, 1), 2.0**-30)
    ensemble.add(0, [torch.ones(1, 1)])
    for _ in range(1023):
        ensemble.add(0, [small])
    # In float32 every small view would be lost against the 1.
    assert ensemble.pop(0)[0][0] == (1 + 1023 * 2.0**-30) / 1024


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="mean"):
        ViewEnsemble("mean")
    with pytest.raises(KeyError):
        ViewEnsemble().pop(0)
