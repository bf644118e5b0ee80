"""A subset of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from slowfast.datasets.types import SampleKey


class Selection(Dataset[Any]):
    """Items `indices` of `dataset`, in that order; keys are positions or SampleKeys."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, key: int | SampleKey) -> Any:
        if isinstance(key, SampleKey):
            return self.dataset[SampleKey(key.epoch, self._indices[key.index])]
        return self.dataset[self._indices[key]]
