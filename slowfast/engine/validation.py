"""Accuracy during training: running counts, and the validation pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slowfast.datasets.loading.loader import BatchLoader
from slowfast.evaluation.metrics import mean_average_precision
from slowfast.tasks.base import Task
from slowfast.utils import distributed
from slowfast.utils.progress import progress_line

HEADS = ("verb", "noun")


class TopKCounts:
    """Counts of correct clips at k = 1 and 5, per head and for all heads at once (action).

    Multi-label heads are not counted. `action_top1` is the official action accuracy: the most
    probable pair is the pair of the most probable verb and noun.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Tensor] = {}

    def add(self, logits: list[Tensor], labels: list[Tensor], finite: Tensor | None = None) -> None:
        """finite: () bool, false for a step that does not count."""
        if any(label.is_floating_point() for label in labels):
            return
        hits = {k: [_hits(x, y, k) for x, y in zip(logits, labels, strict=True)] for k in (1, 5)}
        labelled = torch.stack([label >= 0 for label in labels]).all(0)
        if finite is not None:
            labelled = labelled & finite
        self._add("count", labelled)
        names = HEADS if len(logits) == 2 else tuple(f"head{i}" for i in range(len(logits)))
        for k, per_head in hits.items():
            if len(logits) == 1:
                self._add(f"top{k}", per_head[0] & labelled)
                continue
            for name, hit in zip(names, per_head, strict=True):
                self._add(f"{name}_top{k}", hit & labelled)
        if len(logits) == 2:
            self._add("action_top1", hits[1][0] & hits[1][1] & labelled)

    def percentages(self) -> dict[str, float]:
        """Percent correct by name, over all ranks; empty where nothing was counted."""
        parts = distributed.gather_objects({k: int(v) for k, v in self._counts.items()})
        totals: dict[str, int] = {}
        for part in parts:
            for name, count in part.items():
                totals[name] = totals.get(name, 0) + count
        seen = totals.pop("count", 0)
        return {name: 100.0 * count / seen for name, count in totals.items()} if seen else {}

    def state_dict(self) -> dict[str, Any]:
        return {name: count.cpu() for name, count in self._counts.items()}

    def add_state(self, state: dict[str, Any], device: torch.device) -> None:
        for name, count in state.items():
            self._add(name, count.to(device))

    def _add(self, name: str, hit: Tensor) -> None:
        count = hit.sum()
        self._counts[name] = self._counts[name] + count if name in self._counts else count


def _hits(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is among the k highest scores: (N,) bool."""
    top = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return (top == labels[:, None]).any(1)


@torch.no_grad()
def validate(
    model: nn.Module,
    task: Task,
    loader: BatchLoader[Any],
    device: torch.device,
    check: Callable[[], None],
) -> dict[str, float]:
    """One view of every validation segment; percent, the same on every rank.

    Single-label heads give top-1 and top-5; multi-label heads mean average precision.

    check: called equally often on every rank; ends the validation by raising.
    """
    model.eval()
    counts = TopKCounts()
    multi_label: list[list[tuple[np.ndarray, np.ndarray]]] = []
    with progress_line("validation", len(loader), "batches") as line:
        batches = iter(loader)
        for _ in range(loader.sampler.batches_per_epoch):
            check()
            batch = next(batches, None)
            if batch is None:
                continue
            batch = batch.to(device)
            scores = task.evaluate(model, batch)
            counts.add(scores, batch.labels)
            if batch.labels[0].is_floating_point():
                multi_label.append(
                    [
                        (s.cpu().numpy(), y.cpu().numpy())
                        for s, y in zip(scores, batch.labels, strict=True)
                    ]
                )
            line.advance()
    numbers = counts.percentages()
    gathered = [rows for part in distributed.gather_objects(multi_label) for rows in part]
    if gathered:
        numbers.update(_mean_average_precisions(gathered))
    return numbers


def _mean_average_precisions(rows: list[list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, float]:
    values = {}
    for head, name in enumerate(HEADS[: len(rows[0])]):
        scores = np.concatenate([row[head][0] for row in rows])
        labels = np.concatenate([row[head][1] for row in rows])
        values[f"{name}_mAP"] = mean_average_precision(scores, labels)
    return {**values, "mAP": float(np.mean(list(values.values())))}
