"""Inputs of the kinds of L_a: negatives, relevance, permutation.

Legend: N pairs of this process, M pairs of all processes, E exo clips that are in no pair, Q rows
of the queue, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from slowfast.datasets.types import PairedBatch
from slowfast.losses.dcl import ExtraNegatives, Negatives, own_rows
from slowfast.losses.negatives import class_overlap
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.tasks.terms.base import Step
from slowfast.tasks.terms.clips import text_of
from slowfast.tasks.terms.exo_queue import ExoQueue
from slowfast.tasks.terms.peers import Peers
from slowfast.utils.host_tensors import sent_to
from slowfast.utils.seeding import Stream, integer_seed


class PairInputs:
    """Computes the optional fields of `losses.alignment.Pairs` by their names."""

    def __init__(
        self,
        peers: Peers,
        *,
        by_label: bool,
        threshold: float,
        seed: int,
        queue: ExoQueue | None = None,
    ) -> None:
        """by_label: relevance is the share of the labels that agree, not the narrations' cosine.

        threshold: pairs of the queue with a larger similarity are negatives. seed: of the
        permutation.
        """
        self.peers = peers
        self._by_label = by_label
        self._threshold = threshold
        self._seed = seed
        self._queue = queue

    def __call__(
        self, names: Iterable[str], output: EgoExoOutput, batch: PairedBatch, step: Step
    ) -> dict[str, Any]:
        """The fields `names`."""
        inputs = {
            "negatives": lambda: self._negatives(output, batch),
            "relevance": lambda: self._relevance(batch),
            "permutation": lambda: self._permutation(text_of(batch.ego), step),
        }
        return {name: inputs[name]() for name in names}

    def _negatives(self, output: EgoExoOutput, batch: PairedBatch) -> Negatives:
        texts = [text_of(batch.ego), text_of(batch.exo)]
        negatives = self.peers.negatives(batch.ego.labels, texts)
        extra = [*self._of_queue(batch, texts), *self._of_other_exo(output, batch, texts)]
        if not extra:
            return negatives
        rows, excluded = zip(*extra, strict=True)
        joined = ExtraNegatives(torch.cat(rows), torch.cat(excluded, dim=1))
        return replace(negatives, extra=joined)

    def _of_queue(self, batch: PairedBatch, texts: list[Tensor]) -> Iterable[ExtraNegatives]:
        """The queue (Q, D); clips whose pair is not aligned are not negatives."""
        if self._queue is None or not self._queue.rows:
            return
        rows = self._queue.rows
        excluded = (rows["similarity"] <= self._threshold).expand(len(texts[0]), -1)
        labels = self._queue.labels(batch.ego.labels)
        same = self.peers.same(batch.ego.labels, labels, texts, [rows["d_ego"], rows["d_exo"]])
        yield ExtraNegatives(rows["z"], excluded if same is None else excluded | same)

    def _of_other_exo(
        self, output: EgoExoOutput, batch: PairedBatch, texts: list[Tensor]
    ) -> Iterable[ExtraNegatives]:
        """The further exo clips of all processes (E, D)."""
        if batch.other_exo is None or output.z_other is None:
            return
        gathered = self.peers.gathered
        z_all, d_all = gathered(output.z_other), gathered(text_of(batch.other_exo))
        # They have labels of the exo set, and no ego clip.
        labels_all = map(gathered, batch.other_exo.labels)
        same = self.peers.same(batch.exo.labels, labels_all, texts, [d_all, d_all])
        if same is None:
            same = torch.zeros(len(texts[0]), len(z_all), dtype=torch.bool, device=z_all.device)
        yield ExtraNegatives(z_all, same)

    def _relevance(self, batch: PairedBatch) -> tuple[Tensor, Tensor]:
        """(N, M) of ego clips to exo clips, and the other way round."""
        gathered = self.peers.gathered
        d_ego, d_exo = text_of(batch.ego), text_of(batch.exo)
        if not self._by_label:
            return d_ego @ gathered(d_exo).T, d_exo @ gathered(d_ego).T
        labels = batch.ego.labels
        overlap = class_overlap(labels, [gathered(y) for y in labels])
        # A pair agrees with itself, labelled or not.
        own = own_rows(self.peers.positions(d_ego), overlap.shape[1])
        overlap = overlap.masked_fill(own, 1.0)
        return overlap, overlap

    def _permutation(self, rows: Tensor, step: Step) -> Tensor:
        """(N,) int64, a new order of `rows` in each step, on their device."""
        seed = integer_seed(self._seed, *step, Stream.TRIPLET)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        return sent_to(rows.device, order)
