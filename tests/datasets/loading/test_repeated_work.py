"""Savings of the test over the EPIC-KITCHENS-100 validation list: decodes and forward passes.

Against the published test, which decodes and forwards each of the 30 views of a segment alone.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from slowfast.config import load_config
from slowfast.config.heads import ego_heads
from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.views import merge_views
from slowfast.datasets.from_cfg import clip_settings, geometry
from slowfast.datasets.from_cfg import test_views as configured_views
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.sources.epic_annotations import read_segments
from tests.commands import CONFIGS

# Of EPIC's frames, after the resize in extraction.
HEIGHT, WIDTH = 256, 456


@dataclass
class BlackFrames:
    """A store without files; `read_numbers`: what was asked for since it was last cleared."""

    read_numbers: list[int] = field(default_factory=list)

    def open(self, segment):
        return self

    def check(self, segments):
        pass

    def read(self, frame_numbers):
        for number in frame_numbers:
            self.read_numbers.append(number)
            yield np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def segments(real):
    return read_segments(
        real / "EPIC_100_validation.csv", epic_100=True, num_classes=(97, 300), labelled=True
    )


@pytest.fixture(scope="module")
def cfg():
    return load_config(CONFIGS / "epic-kitchen-100" / "Ego_Exo_SLOWFAST_8x8_R101.yaml", [])


@pytest.fixture(scope="module")
def sampling(cfg):
    return ClipSampling(cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE)


@pytest.fixture(scope="module")
def work(cfg, sampling, segments):
    """(segments, 2) int: distinct frames, distinct views of each segment."""
    views = configured_views(cfg)
    placements = [geometry(cfg).test(HEIGHT, WIDTH, crop) for crop in views.crops]
    rows = []
    for segment in segments:
        numbers = sampling.views(segment, views.temporal)
        merged = merge_views(numbers, placements)
        assert sum(view.weight for view in merged) == len(views)
        rows.append((len(np.unique(numbers)), len(merged)))
    return np.array(rows)


def test_short_segments_have_three_views(segments, work):
    short = np.array([segment.num_frames <= 63 for segment in segments])
    assert (len(short), short.sum()) == (9668, 1798)
    assert round(100 * short.mean(), 1) == 18.6
    np.testing.assert_array_equal(work[:, 1] == 3, short)


def test_what_is_saved(cfg, sampling, segments, work):
    views = len(configured_views(cfg))
    assert (views, sampling.num_frames, sampling.rate) == (30, 32, 2)
    decodes, forwards = work.sum(axis=0)
    assert (decodes, forwards) == (1_280_541, 234_243)
    assert round(len(segments) * views * sampling.num_frames / decodes, 1) == 7.2
    assert round(len(segments) * views / forwards, 2) == 1.24


def test_the_data_set_does_no_more(cfg, sampling, segments, work):
    some = range(0, len(segments), 400)
    frames = BlackFrames()
    # Frames stay as decoded, so that no time goes into resizing.
    settings = replace(clip_settings(cfg, "ego", ego_heads(cfg)), resize_on_device=True)
    dataset = SegmentDataset(segments, "test", frames, settings)
    for index in some:
        frames.read_numbers.clear()
        item = dataset.segment_views(index)
        assert (len(frames.read_numbers), len(item.views)) == tuple(work[index])
        assert len(set(frames.read_numbers)) == len(frames.read_numbers)
