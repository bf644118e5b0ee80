"""Batches in slots of shared memory equal those loaded without them."""

import time

import numpy as np
import pytest
import torch

from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.ego_exo import EgoExoDataset
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.pairing.narrations import NarrationTable
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.datasets.selection import Selection
from slowfast.datasets.types import ClipBatch
from slowfast.utils.seeding import Stream
from tests.datasets.frames.tiny_videos import make_segment

WORKERS, PREFETCH = 2, 2


@pytest.fixture
def ego(make_dataset):
    segments = [make_segment(start, start + 14) for start in range(1, 42, 2)]
    return make_dataset(segments, resize_on_device=True)


def joined(ego, make_dataset, **settings):
    """The ego data set joined with clips of another shape, one or two."""

    exo = make_dataset(
        [make_segment(20, 40)], stream=Stream.EXO, sampling=ClipSampling(4, 2), lighting_std=0.1
    )
    shape = (len(ego), 1)
    table = PairTable(
        np.zeros(shape, np.int32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.uint8),
        {},
        "",
        "",
        1,
    )
    texts = NarrationTable(["open door"], torch.ones(1, 4))
    return EgoExoDataset(ego, exo, table, texts, seed=1, **settings)


def loader_of(dataset, ring, workers=WORKERS):
    sampler = GlobalBatchSampler(len(dataset), 3, seed=1, drop_last=False)
    return BatchLoader(
        dataset,
        sampler,
        num_workers=workers,
        prefetch_batches=PREFETCH,
        shared_ring=ring,
    )


def clip_batches(batch):
    return [batch] if isinstance(batch, ClipBatch) else batch.clips()


def assert_equal(batch, expected):
    for ours, theirs in zip(clip_batches(batch), clip_batches(expected), strict=True):
        assert ours.frames.equal(theirs.frames)
        assert ours.indices.equal(theirs.indices)
        for name in ("text", "lighting", "resize"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert (mine is None) == (other is None)
            assert mine is None or mine.equal(other)


@pytest.mark.parametrize("settings", [None, {}, {"exo_stream": True}, {"exo_frames": False}])
def test_batches_hold_until_the_next_one(ego, make_dataset, settings):
    """Each batch is inspected only after the workers have prefetched as much as they can."""
    dataset = ego if settings is None else joined(ego, make_dataset, **settings)
    alone, ring = loader_of(dataset, False, workers=0), loader_of(dataset, True)
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        ring.set_epoch(epoch)
        count = 0
        for batch, expected in zip(ring, list(alone), strict=True):
            time.sleep(0.05)
            assert_equal(batch, expected)
            count += 1
        assert count == len(dataset) // 3
    ring.close()


def test_slots_are_used_again(ego):
    ring = loader_of(ego, True)
    places = [batch.frames.data_ptr() for batch in ring]
    slots = WORKERS * PREFETCH + 1
    assert len(set(places)) == slots
    assert places[slots:] == places[: len(places) - slots]
    ring.close()


def test_an_iteration_may_be_left_early(ego):
    ring, expected = loader_of(ego, True), list(loader_of(ego, False, workers=0))
    for stop in (1, 3):
        for number, batch in enumerate(ring):
            assert_equal(batch, expected[number])
            if number == stop:
                break
    for batch, other in zip(ring, expected, strict=True):
        assert_equal(batch, other)
    ring.close()


def test_the_last_smaller_batch_and_fewer_samples_than_a_batch(make_dataset):
    for count in (2, 4):
        dataset = make_dataset([make_segment(1, 15 + index) for index in range(count)], "val")
        batches = [batch.indices for batch in loader_of(dataset, True)]
        assert sorted(torch.cat(batches).tolist()) == list(range(count))


@pytest.mark.parametrize("workers", [0, 2])
def test_segments_of_a_test_share_slots(make_dataset, workers):
    segments = [make_segment(start, start + 14 + start % 5) for start in range(1, 30, 3)]
    dataset = Selection(make_dataset(segments, "test"), range(9, -1, -1))
    sampler = GlobalBatchSampler(10, 1, shuffle=False, drop_last=False)
    ring = BatchLoader(dataset, sampler, num_workers=workers, prefetch_batches=1, shared_ring=True)
    places = []
    for number, segment in enumerate(ring):
        time.sleep(0.02)
        expected = dataset[number]
        assert segment.index == expected.index == 9 - number
        assert segment.frames.equal(expected.frames)
        assert segment.views == expected.views
        places.append(segment.frames.data_ptr())
    assert len(set(places)) == workers + 1
    ring.close()


def test_no_segments_are_no_batches(make_dataset):
    dataset = Selection(make_dataset(split="test"), [])
    sampler = GlobalBatchSampler(0, 1, shuffle=False, drop_last=False)
    assert list(BatchLoader(dataset, sampler, shared_ring=True)) == []
