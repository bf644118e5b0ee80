"""Content that leaves a worker: frames in shared memory, everything else by value."""

import pickle

import pytest
import torch

from slowfast.datasets.clips.collate import collate
from slowfast.datasets.loading.shared_ring import SlotFrames, ring_for
from slowfast.datasets.loading.transport import pack, unpack
from slowfast.datasets.types import ClipBatch, ClipSample, PairedBatch, PairedSample, SegmentViews
from tests.datasets.frames.tiny_videos import make_segment


def clip(value, side=3):
    return ClipSample(
        torch.full((2, side, side, 3), value, dtype=torch.uint8),
        (torch.tensor(value), torch.tensor([1.0, 0.0])),
        value,
        text=torch.full((4,), float(value)),
        shares_label=torch.tensor(value % 2 == 0),
        resize=torch.full((9,), value),
        crop_size=2,
        ego_classes=(torch.tensor([1.0, 0.0, value]), torch.tensor([value, 1.0])),
    )


def small_tensors(batch):
    tensors = [*batch.labels, batch.text, batch.shares_label, batch.lighting, batch.resize]
    tensors += batch.ego_classes
    return [batch.indices] + [tensor for tensor in tensors if tensor is not None]


def assert_equal(batch, expected):
    assert batch.frames.equal(expected.frames)
    assert batch.crop_size == expected.crop_size
    for ours, theirs in zip(small_tensors(batch), small_tensors(expected), strict=True):
        assert ours.equal(theirs)
        assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_a_batch_arrives_as_it_was(clips):
    def sample(number):
        views = [clip(number + 5 * view, 3 + view) for view in range(clips)]
        return PairedSample(*views) if clips > 1 else views[0]

    parcel = pack([sample(number) for number in range(3)], None, 0)
    assert len(parcel.views) == clips
    for view in parcel.views:
        assert view.frames.is_shared()
        # Plain pickling of a tensor, too, would work; what counts is that none is left.
        assert not any(isinstance(tensor, torch.Tensor) for tensor in small_tensors(view.batch))
        view.batch = pickle.loads(pickle.dumps(view.batch))
    batch = unpack(parcel)
    expected = collate([sample(number) for number in range(3)])
    if clips == 1:
        assert isinstance(batch, ClipBatch)
        assert_equal(batch, expected)
    else:
        assert isinstance(batch, PairedBatch)
        assert len(batch.clips()) == clips
        for ours, theirs in zip(batch.clips(), expected.clips(), strict=True):
            assert_equal(ours, theirs)


def test_a_segment_arrives_as_it_was(make_dataset):
    dataset = make_dataset([make_segment(1, 40)], "test")
    ring = ring_for(dataset, 1, 2)
    for slot in (0, 1):
        parcel = pack(ring.load(dataset, [0], slot), ring, slot)
        assert isinstance(parcel.views[0].frames, SlotFrames)
        segment, expected = unpack(parcel), dataset[0]
        assert isinstance(segment, SegmentViews)
        assert segment.frames.equal(expected.frames)
        assert segment.views == expected.views
        assert [int(label) for label in segment.labels] == [1, 2]


def test_a_pinned_batch_is_out_of_its_slot(make_dataset, monkeypatch):
    """Without a GPU nothing is page-locked; the slot must be free for the next batch."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    dataset = make_dataset()
    ring = ring_for(dataset, 2, 2)
    parcel = pack(ring.load(dataset, [0, 1], 1), ring, 1)
    assert isinstance(parcel.views[0].frames, SlotFrames)
    batch = pickle.loads(pickle.dumps(parcel)).pin_memory()
    assert unpack(parcel).frames.equal(batch.frames)
    ring.load(dataset, [1, 0], 1)
    assert not unpack(parcel).frames.equal(batch.frames)
    assert batch.frames.equal(collate([dataset[0], dataset[1]]).frames)


def test_segments_larger_than_the_slot_bring_their_frames(make_dataset):
    """Sizes are those of the first segment's video."""
    dataset = make_dataset([make_segment(1, 40)], "test")
    ring = ring_for(dataset, 1, 2)
    ring._views = [view[:, :1000].contiguous() for view in ring._views]
    parcel = pack(ring.load(dataset, [0], 1), ring, 1)
    assert isinstance(parcel.views[0].frames, torch.Tensor)
    assert unpack(parcel).frames.equal(dataset[0].frames)


def test_memory_of_the_data_set_is_its_own_behind_a_load(make_dataset):
    dataset = make_dataset()
    ring = ring_for(dataset, 1, 2)
    (loaded,) = ring.load(dataset, [0], 0)
    kept = loaded.frames.clone()
    dataset[1]
    assert loaded.frames.equal(kept)
