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
from slowfast.tasks.terms.clips import as_classes, meanings_of_pairs, text_of
from slowfast.tasks.terms.exo_queue import ExoQueue
from slowfast.tasks.terms.peers import Meaning, Peers
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
        mine, theirs = meanings_of_pairs(batch.ego.labels, batch.exo.ego_classes, texts)
        negatives = self.peers.negatives(mine, theirs)
        extra = [*self._of_queue(batch, mine), *self._of_other_exo(output, batch)]
        if not extra:
            return negatives
        rows, excluded = zip(*extra, strict=True)
        joined = ExtraNegatives(torch.cat(rows), torch.cat(excluded, dim=1))
        return replace(negatives, extra=joined)

    def _of_queue(self, batch: PairedBatch, mine: Meaning) -> Iterable[ExtraNegatives]:
        """The queue (Q, D); clips whose pair is not aligned are not negatives."""
        if self._queue is None or not self._queue.rows:
            return
        rows = self._queue.rows
        excluded = (rows["similarity"] <= self._threshold).expand(len(batch.ego.indices), -1)
        same = self.peers.same(mine, self._queue.meaning(batch), gather=False)
        yield ExtraNegatives(rows["z"], excluded if same is None else excluded | same)

    def _of_other_exo(self, output: EgoExoOutput, batch: PairedBatch) -> Iterable[ExtraNegatives]:
        """The further exo clips of all processes (E, D)."""
        exo, other = batch.exo, batch.other_exo
        if other is None or output.z_other is None:
            return
        z_all = self.peers.gathered(output.z_other)
        # They have no ego clip: their labels are compared with those of the pair's exo clip and,
        # as ego classes, with those of both clips.
        mine, theirs = [exo.labels], [other.labels]
        if exo.ego_classes is not None and other.ego_classes is not None:
            mine += [exo.ego_classes, as_classes(batch.ego.labels, exo.ego_classes)]
            theirs += [other.ego_classes] * 2
        texts = [text_of(batch.ego), text_of(exo)]
        same = self.peers.same(
            Meaning(mine, texts), Meaning(theirs, [text_of(other)] * 2), gather=True
        )
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
