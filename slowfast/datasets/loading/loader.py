"""Batches from data sets: the loader of one process, and how a config builds it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import torch
from fvcore.common.config import CfgNode
from torch.utils.data import DataLoader

from slowfast.config.derived import data_workers
from slowfast.datasets.clips.collate import collate
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.loading.shared_ring import clip_datasets, ring_for
from slowfast.datasets.loading.shm_room import choose_transport
from slowfast.datasets.loading.transport import Parcel, unpack
from slowfast.datasets.loading.workers import (
    BatchRequests,
    Failure,
    WorkerBatches,
    end_workers,
    lost_worker_error,
    start_worker,
)
from slowfast.utils.errors import UserError

BatchT = TypeVar("BatchT")


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
            WorkerBatches(dataset, self._ring, by_value=by_value),
            batch_sampler=cast(
                "Any", BatchRequests(sampler, self._ring.slots if self._ring else 1)
            ),
            num_workers=num_workers,
            # The ring's memory is inherited by the workers.
            multiprocessing_context="fork" if num_workers else None,
            collate_fn=_unchanged,
            pin_memory=pin_memory,
            timeout=timeout_sec if num_workers else 0,
            worker_init_fn=start_worker,
            persistent_workers=num_workers > 0,
            prefetch_factor=prefetch_batches if num_workers else None,
            # DataLoader draws worker seeds that nothing uses; draw them from a separate
            # generator, so that the global one does not change.
            generator=torch.Generator(),
        )
        # Must run before multiprocessing sends SIGTERM to the workers, which they ignore for a
        # while.
        weakref.finalize(self, end_workers, self._loader)

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
            if isinstance(batch, Failure):
                self.close()
                raise UserError(batch.message)
            if batch is None:
                _log_bad_frames(self.dataset)
                return
            yield cast("BatchT", unpack(batch) if isinstance(batch, Parcel) else batch)

    @contextmanager
    def naming_lost_workers(self) -> Iterator[None]:
        """Context manager that turns the death of a worker into a UserError.

        Wrap code that uses batches in it: torch raises the error in the main thread, at any line.
        """
        try:
            yield
        except RuntimeError as error:
            lost_worker = lost_worker_error(str(error), self._num_workers)
            if lost_worker is None:
                raise
            raise lost_worker from error

    def rebuild(self, epoch: int, batch: int) -> BatchT:
        """One batch of this rank, loaded again in this process."""
        keys = self.sampler.keys(epoch, batch)
        return cast("BatchT", collate([self.dataset[key] for key in keys]))

    def close(self) -> None:
        """End the workers now, instead of when this object or the process ends."""
        end_workers(self._loader)


def build_loader(
    cfg: CfgNode, dataset: Sized, split: str, rank: int = 0, world_size: int = 1
) -> BatchLoader[Any]:
    """The loader of a data set's split for one of `world_size` processes.

    train: shuffled whole batches. val: every segment once over all ranks. Both give ClipBatch
    or PairedBatch. test: one SegmentViews at a time, segments divided among the ranks.

    Raises: UserError if the batch size is not a multiple of the number of processes, or larger than
    the data set.
    """
    size = _batch_size(cfg, world_size) if split != "test" else world_size
    num_samples = len(dataset)
    if split == "train" and num_samples < size:
        raise UserError(
            f"TRAIN.BATCH_SIZE {size} is more than the {num_samples} training segments; "
            "lower it or use a longer TRAIN.TRAIN_DATA_LIST"
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
            f"TRAIN.BATCH_SIZE {size} is not a multiple of {world_size} processes (NUM_GPUS or "
            f"the launcher's); set TRAIN.BATCH_SIZE {nearest}"
        )
    return size


def _log_bad_frames(dataset: Any) -> None:
    """Log how many frames the epoch replaced, if the frame store counts them."""
    for view in clip_datasets(dataset):
        # With several exo sets, each has a store.
        for store in getattr(view.frames, "stores", [view.frames]):
            if isinstance(bad_frames := getattr(store, "bad_frames", None), BadFrames):
                bad_frames.log_new()
