"""Sampler of this rank's share of every global batch.

Legend: B clips of the global batch, R ranks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from slowfast.datasets.types import SampleKey
from slowfast.utils.seeding import Stream, generator


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
