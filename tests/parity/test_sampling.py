"""Frame indices equal those of the published loaders, number for number."""

import json
import random

import numpy as np
import pytest

from slowfast.datasets.clips.sampling import (
    ClipSampling,
    centred_frames,
    clip_positions,
    clip_span,
    slow_indices,
)
from slowfast.datasets.types import Segment


@pytest.fixture(scope="module")
def temporal(golden):
    return json.loads((golden / "data_temporal.json").read_text())


def span(name):
    start, stop = (int(part) for part in name.split()[0].split("-"))
    return Segment(name, "P01_01", "P01", start, stop, "", ((), ()))


def test_validation_and_every_test_view(temporal):
    sampling = ClipSampling(temporal["num_frames"], temporal["sampling_rate"])
    assert len(temporal["frame_numbers"]) >= 14
    for name, stored in temporal["frame_numbers"].items():
        segment = span(name)
        assert sampling.validation(segment).tolist() == stored["val"], name
        views = sampling.views(segment, temporal["num_ensemble_views"])
        assert views.tolist() == stored["test_by_temporal_view"], name


def test_training_with_the_published_draws(temporal):
    num_frames, rate = temporal["num_frames"], temporal["sampling_rate"]
    for name, stored in temporal["train_python_random_seed"].items():
        segment = span(name)
        slack = segment.num_frames - clip_span(num_frames, rate)
        random.seed(int(name.split("seed")[1]))
        start = random.randint(min(slack, 0), max(slack, 0))
        positions = clip_positions(start, segment.num_frames, num_frames, rate)
        assert (segment.start_frame + positions).tolist() == stored["frames"], name


def test_clips_centred_on_a_frame(golden):
    for case in json.loads((golden / "data_get_sequence.json").read_text()):
        half, rate = case["half_len"], case["rate"]
        num_frames = len(range(-half, half, rate))
        if num_frames * rate != 2 * half:
            continue
        frames = centred_frames(case["center"], num_frames, rate)
        clamped = np.clip(frames, 0, case["num_frames"] - 1)
        assert clamped.tolist() == case["seq"], case


def test_slow_pathway(golden):
    for case in json.loads((golden / "data_pack_pathway.json").read_text())["cases"]:
        assert slow_indices(case["T"], case["alpha"]).tolist() == case["slow"], case
