import numpy as np
import pytest

from slowfast.datasets.clips.sampling import (
    ClipSampling,
    clip_positions,
    clip_span,
    slow_indices,
    train_start,
    validation_start,
    view_starts,
)
from slowfast.datasets.types import Segment


def segment(start, stop):
    return Segment("s", "P01_01", "P01", start, stop, "", ((), ()))


def test_span_counts_both_ends():
    assert clip_span(32, 2) == 63
    assert clip_span(1, 5) == 1


@pytest.mark.parametrize(("length", "possible"), [(63, 1), (64, 2), (70, 8), (60, 4), (1, 63)])
def test_train_start_is_uniform_and_reaches_both_ends(length, possible):
    rng = np.random.default_rng(0)
    draws = [train_start(length, 63, rng) for _ in range(200 * possible)]
    low, high = sorted((0, length - 63))
    assert set(draws) == set(range(low, high + 1))
    # 200 draws expected of each; five standard deviations of a binomial are about 70.
    assert all(abs(draws.count(start) - 200) < 75 for start in range(low, high + 1))


@pytest.mark.parametrize("length", [1, 40, 63, 64, 100, 1234])
def test_one_view_is_the_validation_view(length):
    assert view_starts(length, 63, 1).tolist() == [validation_start(length, 63)]
    assert view_starts(length, 63, 10)[5] == validation_start(length, 63)


@pytest.mark.parametrize("views", [2, 3, 5, 10])
def test_views_reach_from_end_to_end_evenly(views):
    starts = view_starts(163, 63, views)
    assert (starts[0], starts[-1]) == (0, 100)
    assert np.ptp(np.diff(starts)) <= 1


def test_positions_are_clamped_to_the_segment():
    positions = clip_positions(np.array([-3, 2]), length=5, num_frames=4, rate=2)
    assert positions.tolist() == [[0, 0, 1, 3], [2, 4, 4, 4]]


def test_slow_pathway_takes_both_ends():
    for length in (8, 16, 32, 64, 20):
        indices = slow_indices(length, 4)
        assert len(indices) == length // 4
        assert (indices[0], indices[-1]) == (0, length - 1)
    assert slow_indices(4, 4).tolist() == [0]


def test_first_frame_clips_are_centred_and_never_random():
    sampling = ClipSampling(8, 2, "first_frame")
    expected = [92, 94, 96, 98, 100, 102, 104, 106]
    rng = np.random.default_rng(0)
    assert sampling.validation(segment(100, 300)).tolist() == expected
    assert sampling.train(segment(100, 300), rng).tolist() == expected
    assert sampling.views(segment(100, 300), 3).tolist() == [expected] * 3


def test_unknown_position_is_an_error():
    with pytest.raises(ValueError, match="middle"):
        ClipSampling(8, 2, "middle")
