"""Batches from data sets: choice of segments, workers, collation, errors.

Legend: N clips of this process, T frames, S crop side, B clips of the global batch, R ranks.
"""

from __future__ import annotations

import copy
import signal
import weakref
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, cast

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from slowfast.config.derived import data_workers
from slowfast.datasets.clips.collate import collate
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.loading.shared_ring import SharedRing, clip_datasets, ring_for
from slowfast.datasets.loading.shm_room import choose_transport
from slowfast.datasets.loading.transport import Parcel, pack, unpack
from slowfast.datasets.types import SampleKey
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream, generator

BatchT = TypeVar("BatchT")

# Seconds that a worker keeps running after SIGTERM, so that the training process can finish its
# step.
_GRACE_SEC = 30


class GlobalBatchSampler(Sampler[list[SampleKey]]):
    """This rank's share of every global batch of an epoch.

    Global batch b holds positions b*B .. b*B + B-1 of the epoch's order, whatever the number of
    ranks; rank r takes the r-th of R contiguous parts. A last batch of fewer than B is divided as
    evenly as possible; a rank whose part is empty has one batch fewer. The first epoch is 0.

    num_samples: number of segments in the data set.
    shuffle: use a permutation drawn from (seed, epoch), else the order of the data set.
    drop_last: drop a last batch of fewer than B.
    """

    def __init__(
        self,
        num_samples: int,
        global_batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        self._num_samples = num_samples
        self._global_batch_size = global_batch_size
        self._rank = rank
        self._world_size = world_size
        self._seed = seed
        self._shuffle = shuffle
        self._drop_last = drop_last
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch of the next iteration and the global batch that it starts with."""
        self._epoch = epoch
        self._start_batch = start_batch

    @property
    def batches_per_epoch(self) -> int:
        """Number of global batches in a whole epoch."""
        whole, rest = divmod(self._num_samples, self._global_batch_size)
        return whole if self._drop_last or rest == 0 else whole + 1

    @property
    def largest_batch(self) -> int:
        """Largest number of clips of this rank in one batch."""
        return -(-min(self._global_batch_size, self._num_samples) // self._world_size)

    def __len__(self) -> int:
        """Number of batches of this rank in the next iteration."""
        return sum(1 for _ in self._parts())

    def __iter__(self) -> Iterator[list[SampleKey]]:
        order = self._order()
        for part in self._parts():
            yield [SampleKey(self._epoch, int(index)) for index in order[part]]

    def keys(self, epoch: int, batch: int) -> list[SampleKey]:
        """This rank's part of one global batch."""
        alone = copy.copy(self)
        alone.set_epoch(epoch, batch)
        return next(iter(alone), [])

    def _order(self) -> np.ndarray:
        if not self._shuffle:
            return np.arange(self._num_samples)
        return generator(self._seed, self._epoch, 0, Stream.ORDER).permutation(self._num_samples)

    def _parts(self) -> Iterator[slice]:
        for batch in range(self._start_batch, self.batches_per_epoch):
            first = batch * self._global_batch_size
            size = min(self._global_batch_size, self._num_samples - first)
            start = first + size * self._rank // self._world_size
            stop = first + size * (self._rank + 1) // self._world_size
            if start < stop:
                yield slice(start, stop)


@dataclass
class _Failure:
    """A user's mistake in a worker, to be raised in the training process."""

    message: str


class _Order(NamedTuple):
    """One batch for a worker to load, and the slot of the ring that it may fill."""

    keys: list[SampleKey]
    slot: int


class _Orders(Sampler[_Order]):
    """The sampler's batches, each with its slot."""

    def __init__(self, sampler: GlobalBatchSampler, slots: int) -> None:
        self._sampler = sampler
        self._slots = slots

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[_Order]:
        for number, keys in enumerate(self._sampler):
            yield _Order(keys, number % self._slots)


class _Batches(Dataset[Any]):
    """Loader of whole batches; returns a UserError as a value, without a traceback."""

    def __init__(self, dataset: Any, ring: SharedRing | None, *, by_value: bool) -> None:
        self._dataset = dataset
        self._ring = ring
        self._by_value = by_value

    def __getitems__(self, order: _Order) -> Any:
        try:
            if self._ring is not None:
                samples = self._ring.load(self._dataset, order.keys, order.slot)
            else:
                samples = [self._dataset[key] for key in order.keys]
        except UserError as error:
            return _Failure(str(error))
        if self._ring is None and get_worker_info() is None:
            return collate(samples)
        return pack(samples, self._ring, order.slot, by_value=self._by_value)


class BatchLoader(Generic[BatchT]):
    """Iterator over the batches of one epoch of this rank.

    Iterating raises UserError for a user's mistake in a worker, and for a worker that has died
    or hangs. With `shared_ring` a batch is valid until the next one is taken, unless it is in
    page-locked memory.
    """

    def __init__(
        self,
        dataset: Any,
        sampler: GlobalBatchSampler,
        *,
        num_workers: int = 0,
        timeout_sec: float = 0,
        pin_memory: bool = False,
        prefetch_batches: int = 2,
        shared_ring: bool = False,
    ) -> None:
        """num_workers: processes; 0 loads in this one. timeout_sec: longest wait for a batch; 0: no
        limit. prefetch_batches: batches of each worker that are ready or in progress.
        shared_ring: the memory of frames is reused."""
        self.dataset = dataset
        self.sampler = sampler
        num_workers, by_value = choose_transport(
            dataset, sampler.largest_batch, num_workers, prefetch_batches
        )
        slots = num_workers * prefetch_batches + 1
        self._num_workers = num_workers
        self._ring = ring_for(dataset, sampler.largest_batch, slots) if shared_ring else None
        self._loader = DataLoader(
            _Batches(dataset, self._ring, by_value=by_value),
            batch_sampler=cast("Any", _Orders(sampler, self._ring.slots if self._ring else 1)),
            num_workers=num_workers,
            # The ring's memory is inherited by the workers.
            multiprocessing_context="fork" if num_workers else None,
            collate_fn=_unchanged,
            pin_memory=pin_memory,
            timeout=timeout_sec if num_workers else 0,
            worker_init_fn=_start_worker,
            persistent_workers=num_workers > 0,
            prefetch_factor=prefetch_batches if num_workers else None,
            # DataLoader draws worker seeds that nothing uses; draw them from a separate
            # generator, so that the global one does not change.
            generator=torch.Generator(),
        )
        # Must run before multiprocessing sends SIGTERM to the workers, which they ignore for a
        # while.
        weakref.finalize(self, _end_workers, self._loader)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Choose the epoch of the next iteration and the global batch that it starts with."""
        self.sampler.set_epoch(epoch, start_batch)

    def __len__(self) -> int:
        """Number of batches of this rank in the next iteration."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[BatchT]:
        batches = iter(self._loader)
        while True:
            try:
                with self.naming_lost_workers():
                    batch = next(batches, None)
            except Exception:
                self.close()
                raise
            if isinstance(batch, _Failure):
                self.close()
                raise UserError(batch.message)
            if batch is None:
                _log_bad_frames(self.dataset)
                return
            yield cast("BatchT", unpack(batch) if isinstance(batch, Parcel) else batch)

    @contextmanager
    def naming_lost_workers(self) -> Iterator[None]:
        """Context that turns the death of a worker into a UserError; for code that uses batches.

        torch raises the error in the main thread, at whatever line that is executing.
        """
        try:
            yield
        except RuntimeError as error:
            lost_worker = _lost_worker(str(error), self._num_workers)
            if lost_worker is None:
                raise
            raise lost_worker from error

    def rebuild(self, epoch: int, batch: int) -> BatchT:
        """One batch of this rank, loaded again in this process."""
        keys = self.sampler.keys(epoch, batch)
        return cast("BatchT", collate([self.dataset[key] for key in keys]))

    def close(self) -> None:
        """End the workers now, instead of when this object or the process ends."""
        _end_workers(self._loader)


def _end_workers(loader: DataLoader[Any]) -> None:
    iterator = loader._iterator
    if iterator is None:
        return
    iterator._shutdown_workers()  # type: ignore[attr-defined]
    for worker in getattr(iterator, "_workers", []):
        if worker.is_alive():
            worker.kill()
    loader._iterator = None


def build_loader(
    cfg: CfgNode, dataset: Sized, split: str, rank: int = 0, world_size: int = 1
) -> BatchLoader[Any]:
    """The loader of a data set's split for one of `world_size` processes.

    train: shuffled whole batches. val: every segment once over all ranks. Both give ClipBatch
    or PairedBatch. test: one SegmentViews at a time, segments divided among the ranks.

    Raises: UserError if the batch does not divide or the data set has fewer segments than that.
    """
    size = _batch_size(cfg, world_size) if split != "test" else world_size
    num_samples = len(dataset)
    if split == "train" and num_samples < size:
        raise UserError(
            f"TRAIN.BATCH_SIZE {size} is more than the {num_samples} training segments; "
            "lower it or take a longer TRAIN.TRAIN_DATA_LIST"
        )
    sampler = GlobalBatchSampler(
        num_samples,
        size,
        rank,
        world_size,
        seed=cfg.RNG_SEED,
        shuffle=split == "train",
        drop_last=split == "train",
    )
    return BatchLoader(
        dataset,
        sampler,
        num_workers=data_workers(cfg),
        timeout_sec=cfg.DATA_LOADER.TIMEOUT,
        pin_memory=cfg.DATA_LOADER.PIN_MEMORY and cfg.NUM_GPUS > 0 and torch.cuda.is_available(),
        # All views of a segment take much memory, so only one segment is prefetched.
        prefetch_batches=1 if split == "test" else 2,
        shared_ring=cfg.DATA_LOADER.SHARED_RING and not cfg.TRAIN.ON_FEATURES,
    )


def _unchanged(batch: Any) -> Any:
    return batch


def _batch_size(cfg: CfgNode, world_size: int) -> int:
    size: int = cfg.TRAIN.BATCH_SIZE
    if size % world_size:
        nearest = max(1, round(size / world_size)) * world_size
        raise UserError(
            f"TRAIN.BATCH_SIZE {size} does not divide over {world_size} processes (NUM_GPUS or "
            f"the launcher's); set TRAIN.BATCH_SIZE {nearest}"
        )
    return size


def _log_bad_frames(dataset: Any) -> None:
    """Log how many frames the epoch replaced, if the frame store counts them."""
    for view in clip_datasets(dataset):
        # Several exo sets have a store each.
        for store in getattr(view.frames, "stores", [view.frames]):
            if isinstance(bad_frames := getattr(store, "bad_frames", None), BadFrames):
                bad_frames.log_new()


def _start_worker(worker: int) -> None:
    """Limit OpenCV to one thread, as the workers already run in parallel (torch limits itself).

    A signal to the whole process group does not end the worker; the training process does.
    """
    cv2.setNumThreads(0)
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda signum, frame: signal.alarm(_GRACE_SEC))


def _lost_worker(message: str, num_workers: int) -> UserError | None:
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
