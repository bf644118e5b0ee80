"""Scores and labels of the clips of one epoch, from which its metrics are computed.

Legend: N clips of a step, n clips of this process so far, K classes of a head, S the sum of K over
all heads. Held on the host: 4 x S bytes a clip of this process, and S more where the heads are
multi-label; rank 0 gathers those of all processes for the values. EPIC-KITCHENS-100 has S = 397 and
67,217 training clips: 107 MB over all processes, and as much in a checkpoint inside the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowfast.config.heads import HeadSpec
from slowfast.evaluation.confusion import confusion_counts
from slowfast.evaluation.head_values import head_values
from slowfast.evaluation.scores import metric_scores
from slowfast.utils import distributed


class _Rows(NamedTuple):
    """Clips. scores: (n, S) float32, heads in their order. labels: per head (n,) or bool (n, K)."""

    scores: Tensor
    labels: list[Tensor]


class CollectedScores:
    """Scores of one epoch, or of one validation.

    logits: the scores are logits; otherwise they are outputs of the head's activation.
    """

    def __init__(self, heads: Sequence[HeadSpec], *, logits: bool) -> None:
        self._heads = tuple(heads)
        self._logits = logits
        # Of the steps since the last `to_host`, on the device, each with whether a clip counts.
        self._pending: list[tuple[_Rows, Tensor]] = []
        self._kept: list[_Rows] = []

    def add(
        self, scores: Sequence[Tensor], labels: Sequence[Tensor], finite: Tensor | None = None
    ) -> None:
        """Add the clips of a step, without waiting for the device.

        scores: (N, K) per head. labels: per head (N,) ids, -1 for unlabelled, or multi-hot (N, K).
        finite: () bool; the clips of a non-finite step are not counted.
        Raises: ValueError if the labels are not of the kind of the head.
        """
        for head, label in zip(self._heads, labels, strict=True):
            if (label.dim() == 2) != head.multi_label:
                kind = "multi-hot labels" if head.multi_label else "one class id per clip"
                raise ValueError(f"head {head.name} takes {kind}, not {tuple(label.shape)}")
        # Copies: batches and outputs may be in memory that is reused.
        rows = _Rows(
            torch.cat([s.detach().float() for s in scores], dim=1),
            [label > 0 if label.dim() == 2 else label.clone() for label in labels],
        )
        counts = torch.ones(len(rows.scores), dtype=torch.bool, device=rows.scores.device)
        self._pending.append((rows, counts if finite is None else counts & finite))

    def to_host(self) -> None:
        """Move the counted clips to the host. Waits for the device."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        rows = _joined([rows for rows, _ in pending])
        counts = torch.cat([counts for _, counts in pending]).cpu()
        self._kept.append(_Rows(rows.scores.cpu()[counts], [y.cpu()[counts] for y in rows.labels]))

    def latest_top1(self) -> dict[str, float]:
        """Top-1 in percent of the clips of the last `to_host`, by `HEAD_top1`.

        Only of this process. Multi-label heads and heads without a label are left out.
        """
        if not self._kept:
            return {}
        rows = self._kept[-1]
        widths = [head.num_classes for head in self._heads]
        values = {}
        for head, scores, labels in zip(
            self._heads, rows.scores.split(widths, dim=1), rows.labels, strict=True
        ):
            if head.multi_label or not (labelled := labels >= 0).any():
                continue
            hits = scores[labelled].argmax(dim=1) == labels[labelled]
            values[f"{head.name}_top1"] = 100 * float(hits.float().mean())
        return values

    def confusions(self) -> dict[str, NDArray[np.int64]]:
        """Per single-label head the confusion matrix (K, K) of the clips of all ranks.

        A row per true class. Called on every rank; {} on all but rank 0.
        """
        self.to_host()
        widths = [head.num_classes for head in self._heads]
        own: dict[str, NDArray[np.int64]] = {}
        for rows in self._kept:
            parts = zip(self._heads, rows.scores.split(widths, dim=1), rows.labels, strict=True)
            for head, scores, labels in parts:
                if not head.multi_label:
                    counts = confusion_counts(scores.numpy(), labels.numpy())
                    own[head.name] = own.get(head.name, 0) + counts
        summed: dict[str, NDArray[np.int64]] = {}
        for part in distributed.gather_to_main(own):
            for name, counts in part.items():
                summed[name] = summed.get(name, 0) + counts
        return summed

    def values(self) -> dict[str, float]:
        """The metrics of the clips of all ranks, in percent, the same on every rank.

        Empty if no clip is labelled. Called on every rank.
        """
        self.to_host()
        parts = [rows for part in distributed.gather_to_main(self._kept) for rows in part]
        values: dict[str, float] = {}
        if parts:
            rows = _joined(parts)
            widths = [head.num_classes for head in self._heads]
            scores = [
                metric_scores(s.numpy(), logits=self._logits, multi_label=head.multi_label)
                for head, s in zip(self._heads, rows.scores.split(widths, dim=1), strict=True)
            ]
            values = head_values(self._heads, scores, [y.numpy() for y in rows.labels])
        return dict(distributed.broadcast_object(values))

    def state_dict(self) -> dict[str, Any]:
        """Tensors on the host. Waits for the device."""
        self.to_host()
        self._kept = [_joined(self._kept)] if self._kept else []
        return {"rows": [rows._asdict() for rows in self._kept]}

    def add_state(self, state: dict[str, Any]) -> None:
        """Add the clips of a `state_dict`."""
        self._kept += [_Rows(**rows) for rows in state["rows"]]


def _joined(parts: Sequence[_Rows]) -> _Rows:
    labels = zip(*(rows.labels for rows in parts), strict=True)
    return _Rows(torch.cat([rows.scores for rows in parts]), [torch.cat(y) for y in labels])
