"""The exo clips and the narrations of a batch, as the terms read them.

Legend: N pairs of this process, D embedding width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from slowfast.datasets.types import ClipBatch, PairedBatch


def text_of(clips: ClipBatch) -> Tensor:
    """The embeddings of the narrations, (N, D)."""
    assert clips.text is not None, "the paired data set attaches narration embeddings"
    return clips.text


def all_exo(batch: PairedBatch) -> ClipBatch:
    """Labels and narrations of all exo clips, (2N, ...) if the batch has additional ones."""
    exo, other = batch.exo, batch.other_exo
    if other is None:
        return exo
    labels = [torch.cat(pair) for pair in zip(exo.labels, other.labels, strict=True)]
    return replace(exo, labels=labels, text=torch.cat([text_of(exo), text_of(other)]))
