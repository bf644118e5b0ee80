"""Space in /dev/shm for data workers, checked before the first one starts.

A container has 64 MB there by default. The ring of slots does not use it, but
the queues of any worker do, and so do batches outside the ring.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from slowfast.datasets.loading.shared_ring import batch_bytes
from slowfast.utils import distributed

logger = logging.getLogger(__name__)

_SHM = Path("/dev/shm")
# Semaphores of the workers' queues take a page each, about ten per worker.
QUEUES_BYTES = 2**20
_REMEDY = "start the container with --shm-size=8g or --ipc=host for more"

_warned = False


class Transport(NamedTuple):
    """Path of the batches to this process.

    num_workers: 0 loads them in this process. by_value: through pipes, with copies, instead of in
    shared memory.
    """

    num_workers: int
    by_value: bool


def choose_transport(
    dataset: Any, clips_per_batch: int, num_workers: int, prefetch_batches: int
) -> Transport:
    """The transport that fits into /dev/shm, with one warning if it is not the fastest.

    num_workers, prefetch_batches: as wanted; the latter per worker.
    """
    if num_workers == 0 or not _SHM.is_dir():
        return Transport(num_workers, by_value=False)
    free = free_bytes()
    if free < QUEUES_BYTES:
        _warn(free, "workers cannot start, so batches are loaded in the training process, slowly")
        return Transport(0, by_value=False)
    batches = num_workers * prefetch_batches + 1
    bytes_in_flight = batches * sum(batch_bytes(dataset, clips_per_batch))
    if free < bytes_in_flight:
        _warn(
            free,
            f"the frames of all batches in flight take up to {bytes_in_flight / 2**20:.0f} MiB; "
            "batches outside DATA_LOADER.SHARED_RING go through pipes, more slowly",
        )
        return Transport(num_workers, by_value=True)
    return Transport(num_workers, by_value=False)


def free_bytes() -> int:
    """Free space in /dev/shm."""
    status = os.statvfs(_SHM)
    return status.f_bavail * status.f_frsize


def _warn(free: int, what: str) -> None:
    global _warned
    if distributed.is_main() and not _warned:
        _warned = True
        logger.warning("/dev/shm has %.1f MiB free: %s; %s", free / 2**20, what, _REMEDY)
