"""Data workers where /dev/shm is small, as in containers, or full."""

import pytest

from slowfast.datasets.loading import shm_room
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.loading.shm_room import QUEUES_BYTES
from tests.datasets.frames.tiny_videos import make_segment


@pytest.fixture
def room(monkeypatch):
    """Sets the free bytes reported for /dev/shm."""
    monkeypatch.setattr(shm_room, "_warned", False)
    return lambda free: monkeypatch.setattr(shm_room, "free_bytes", lambda: free)


@pytest.fixture
def dataset(make_dataset):
    return make_dataset([make_segment(start, start + 14) for start in range(1, 22, 2)])


def loader_of(dataset, *, ring, workers=2):
    sampler = GlobalBatchSampler(len(dataset), 3, seed=1, drop_last=False)
    return BatchLoader(dataset, sampler, num_workers=workers, shared_ring=ring)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize(
    ("free", "workers", "message"),
    [
        (QUEUES_BYTES, 2, "batches outside DATA_LOADER.SHARED_RING go through pipes"),
        (0, 0, "workers cannot start, so batches are loaded in the training process"),
    ],
)
def test_batches_are_the_same_with_one_warning(
    ring, free, workers, message, room, dataset, monkeypatch, caplog
):
    monkeypatch.setattr(type(dataset), "item_bytes", lambda self: QUEUES_BYTES)
    expected = list(loader_of(dataset, ring=False, workers=0))
    room(free)
    loader = loader_of(dataset, ring=ring)
    for batch, other in zip(loader, expected, strict=True):
        assert batch.frames.equal(other.frames)
        assert not batch.frames.is_shared()
    # The loader of the validation finds the same.
    loader_of(dataset, ring=ring)
    assert loader._loader.num_workers == workers
    (record,) = caplog.records
    assert message in record.message
    assert "--shm-size" in record.message
    assert "--ipc=host" in record.message


def test_enough_room_is_not_worth_a_word(room, dataset, caplog):
    room(QUEUES_BYTES)
    (first, *_) = loader_of(dataset, ring=False)
    assert first.frames.is_shared()
    assert caplog.records == []
