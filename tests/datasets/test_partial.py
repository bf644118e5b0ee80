"""Partial data: which segments and pairs remain, and that results say so."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from slowfast.config.heads import HeadSpec
from slowfast.datasets.frames.missing import report_missing
from slowfast.datasets.pairing.pairs import PairTable, Tier
from slowfast.datasets.partial import LeftOut, present_segments
from slowfast.datasets.types import Segment
from slowfast.evaluation.tables import format_table
from slowfast.utils.errors import UserError

HEADS = (HeadSpec("verb", 5, False),)


class Frames:
    """A store in which some videos are missing."""

    def __init__(self, missing: set[str]) -> None:
        self._missing = missing

    def check(self, segments: Sequence[Segment]) -> None:
        videos = {segment.video_id for segment in segments}
        lost = {v: UserError(f"video {v} is lost") for v in sorted(videos & self._missing)}
        report_missing(lost, len(videos))


def segments() -> list[Segment]:
    return [
        Segment(f"s{k}", f"v{k // 2}", "P", 1, 9, "cut", ((label,),))
        for k, label in enumerate((0, 1, 1, 2, 3, 3))
    ]


def present(missing: set[str], *, skip: bool = True) -> tuple[list[Segment], LeftOut | None]:
    return present_segments(segments(), Frames(missing), HEADS, skip=skip, what="ego train")  # type: ignore[arg-type]


def test_segments_of_missing_videos_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="slowfast"):
        kept, left_out = present({"v1"})
    assert [segment.segment_id for segment in kept] == ["s0", "s1", "s4", "s5"]
    assert left_out is not None
    assert left_out.kept.tolist() == [0, 1, 4, 5]
    assert left_out.counts(HEADS) == {
        "listed": 6,
        "used": 4,
        "missing_videos": 1,
        "classes_left_out": {"verb": 1},
    }
    assert "2 of 6 segments are left out, because 1 videos are missing" in caplog.text


def test_whole_data_has_nothing_left_out() -> None:
    kept, left_out = present(set())
    assert len(kept) == 6
    assert left_out is None


def test_without_skip_a_missing_video_is_an_error() -> None:
    with pytest.raises(UserError, match="video v1 is lost"):
        present({"v1"}, skip=False)


def test_no_video_at_all_is_an_error() -> None:
    with pytest.raises(
        UserError, match="ego train: all of its videos are missing: video v0 is lost"
    ):
        present({"v0", "v1", "v2"})


@pytest.mark.parametrize("mining", ["text", "factors"])
def test_pairs_follow_the_segments_that_remain(mining: str) -> None:
    """Exo segments 0, 2 and 3 of 4 are kept, as 0, 1 and 2; candidates stay in order, gaps last."""
    half = np.array([[1, 2], [3, 0], [1, -1]], np.int32)
    indices = np.concatenate([half, half[:, ::-1]], axis=1) if mining == "factors" else half
    table = PairTable(
        indices,
        (indices / 10).astype(np.float32),
        np.full(indices.shape, Tier.VERB, np.uint8),
        {"mining": mining},
        "ego",
        "exo",
        4,
    )
    found = table.restricted(np.array([0, 1]), np.array([0, 2, 3]))
    wanted = [[1, -1], [2, 0]]
    if mining == "factors":
        wanted = [[1, -1, 1, -1], [2, 0, 0, 2]]
    assert found.indices.tolist() == wanted
    assert found.exo_count == 3
    similarity = np.sort(found.similarity[found.indices >= 0])
    halves = 2 if mining == "factors" else 1
    np.testing.assert_allclose(similarity, np.sort([0.2, 0.3, 0.0] * halves), atol=1e-6)
    assert not found.similarity[found.indices < 0].any()


def test_the_table_of_a_partial_test_says_so() -> None:
    results = {"num_segments": 4, "left_out": present({"v1"})[1].counts(HEADS)}  # type: ignore[union-attr]
    assert "PARTIAL: 4 of 6 listed segments, 1 videos are missing" in format_table(results)
