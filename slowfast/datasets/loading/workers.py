"""Loader workers: what a worker process loads, how it starts and ends, and its errors."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from slowfast.datasets.clips.collate import collate
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.loading.shared_ring import SharedRing
from slowfast.datasets.loading.transport import pack
from slowfast.datasets.types import SampleKey
from slowfast.utils.errors import UserError

# Seconds that a worker keeps running after SIGTERM, so that the training process can finish its
# step.
_GRACE_SEC = 30


@dataclass
class Failure:
    """A user's mistake in a worker, to be raised in the training process."""

    message: str


class BatchRequest(NamedTuple):
    """One batch for a worker to load, and the slot of the ring that it fills."""

    keys: list[SampleKey]
    slot: int


class BatchRequests(Sampler[BatchRequest]):
    """The sampler's batches, each with its slot."""

    def __init__(self, sampler: GlobalBatchSampler, slots: int) -> None:
        self._sampler = sampler
        self._slots = slots

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[BatchRequest]:
        for number, keys in enumerate(self._sampler):
            yield BatchRequest(keys, number % self._slots)


class WorkerBatches(Dataset[Any]):
    """Loader of whole batches; returns a UserError as a value, without a traceback."""

    def __init__(self, dataset: Any, ring: SharedRing | None, *, by_value: bool) -> None:
        self._dataset = dataset
        self._ring = ring
        self._by_value = by_value

    def __getitems__(self, request: BatchRequest) -> Any:
        try:
            if self._ring is not None:
                samples = self._ring.load(self._dataset, request.keys, request.slot)
            else:
                samples = [self._dataset[key] for key in request.keys]
        except UserError as error:
            return Failure(str(error))
        if self._ring is None and get_worker_info() is None:
            return collate(samples)
        return pack(samples, self._ring, request.slot, by_value=self._by_value)


def start_worker(worker: int) -> None:
    """Limit OpenCV to one thread, as the workers already run in parallel (torch limits itself).

    A signal to the whole process group does not end the worker; the training process does.
    """
    cv2.setNumThreads(0)
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(_GRACE_SEC))


def end_workers(loader: DataLoader[Any]) -> None:
    """End the worker processes of a loader now; one that has none is left as it is."""
    iterator = loader._iterator
    if iterator is None:
        return
    iterator._shutdown_workers()  # type: ignore[attr-defined]
    for worker in getattr(iterator, "_workers", []):
        if worker.is_alive():
            worker.kill()
    loader._iterator = None


def lost_worker_error(message: str, num_workers: int) -> UserError | None:
    """A UserError if the DataLoader's error means a dead or late worker; else None."""
    reason = " ".join(message.split())
    if "DataLoader timed out" in reason:
        return UserError(
            f"a loader worker returned no batch in time ({reason}); check the disk of the frames "
            "or raise DATA_LOADER.TIMEOUT"
        )
    if "DataLoader worker" in reason and ("exited unexpectedly" in reason or "killed" in reason):
        return UserError(
            f"a loader worker has died ({reason}); if memory ran out, lower "
            f"DATA_LOADER.NUM_WORKERS {num_workers} or TRAIN.BATCH_SIZE"
        )
    return None
