"""The exo clips and the narrations of a batch, as the terms read them.

Legend: N pairs of this process, D embedding width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.tasks.terms.peers import Meaning


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
    classes = None
    if exo.ego_classes is not None and other.ego_classes is not None:
        pairs = zip(exo.ego_classes, other.ego_classes, strict=True)
        classes = [torch.cat(pair) for pair in pairs]
    text = torch.cat([text_of(exo), text_of(other)])
    return replace(exo, labels=labels, text=text, ego_classes=classes)


def meaning_of(clips: ClipBatch) -> Meaning:
    """Labels and narrations of clips of one view; exo clips of several sets by ego classes too."""
    lists = [clips.labels] if clips.ego_classes is None else [clips.labels, clips.ego_classes]
    return Meaning(lists, [text_of(clips)])


def meanings_of_pairs(
    ego: Sequence[Tensor], exo: Sequence[Tensor] | None, texts: Sequence[Tensor]
) -> tuple[Meaning, Meaning]:
    """Labels and narrations of pairs: of the anchors, and of the rows they are compared with.

    An exo clip has the labels of its ego clip, and its own labels as ego classes.

    ego: labels of the ego clips. exo: ego classes of the exo clips, for the first heads of `ego`.
    """
    if exo is None:
        return Meaning([ego], texts), Meaning([ego], texts)
    classes = as_classes(ego, exo)
    return Meaning([ego, classes, exo], texts), Meaning([ego, exo, classes], texts)


def as_classes(labels: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """Ego verbs and nouns, (N,) int64 or (N, K) each, as multi-hot rows (N, K) as in `like`."""
    return [
        y.to(k.dtype) if y.ndim == 2 else (y[:, None] == _numbers(k)).to(k.dtype)
        for y, k in zip(labels, like, strict=False)
    ]


def _numbers(classes: Tensor) -> Tensor:
    return torch.arange(classes.shape[1], device=classes.device)
