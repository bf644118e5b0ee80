"""L_a: the term that ties the two views, of every SUML.ALIGN.KIND.

arXiv 2308.11489. Legend: N pairs of this process, M pairs of all processes, E further exo clips
that are negatives, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slowfast.datasets.types import PairedBatch
from slowfast.losses.alignment import AlignmentSettings, Pairs, alignment_kind, triplet
from slowfast.losses.dcl import ExtraNegatives, Negatives, own_rows
from slowfast.losses.negatives import class_overlap
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.tasks.terms.exo_queue import ExoQueue
from slowfast.tasks.terms.peers import Peers, text_of
from slowfast.utils.seeding import Stream, integer_seed

# Between the two values of a pair by label: joined with a clip that has the label, or not.
_HALF = 0.5


@dataclass(frozen=True)
class _Pairs:
    """What says which pairs are aligned, and which of them are no negatives of each other.

    similarity: (N,); pairs above `threshold` are. related: (N, M) bool or None.
    further: (E, D) negatives that are in no pair, or None.
    """

    similarity: Tensor
    threshold: float
    related: Tensor | None
    further: ExtraNegatives | None = None


@dataclass(frozen=True)
class AlignmentTerm:
    """Fields: SUML.ALIGN.*, SUML.TEMPERATURE. queue: of SUML.QUEUE, or None."""

    kind: str
    temperature: float
    threshold: float
    sigma: float
    margin: float
    relevance: str
    peers: Peers
    seed: int
    queue: ExoQueue | None = None

    def __call__(
        self, output: EgoExoOutput, batch: PairedBatch, epoch: int, iteration: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_a, scaled so that its mean over processes is the loss of the joined batch; and, for the
        log, pairs_kept, pair_similarity, align_empty."""
        if self.kind == "factorised":
            return self._factorised(output, batch)
        similarity = (text_of(batch.ego) * text_of(batch.exo)).sum(1)
        counts = {
            "pairs_kept": (similarity > self.threshold).float().mean(),
            "pair_similarity": similarity.mean(),
        }
        z_ego, z_exo = _both(output)
        if self.kind == "triplet":
            negative = z_ego[self._order(z_ego, epoch, iteration)]
            return triplet(z_ego, z_exo, negative, self.margin), counts
        if self.kind == "soft":
            rows_in_all = len(similarity) * self.peers.processes
            counts["align_empty"] = similarity.new_full((), float(rows_in_all < 2))
            return self._soft(z_ego, z_exo, similarity, batch), counts
        texts = [text_of(batch.ego), text_of(batch.exo)]
        related = self.peers.related(batch.ego.labels, texts)
        further = self._further(output, batch)
        pairs = _Pairs(similarity, self.threshold, related, further)
        loss, counts["align_empty"] = self._contrast(z_ego, z_exo, pairs)
        if self.queue and output.key_exo is not None:
            self.queue.remember(
                (epoch, iteration),
                z=output.key_exo,
                similarity=similarity,
                labels=torch.stack(batch.ego.labels, dim=1),
                d_ego=texts[0],
                d_exo=texts[1],
            )
        return loss, counts

    def _contrast(self, z_ego: Tensor, z_exo: Tensor, pairs: _Pairs) -> tuple[Tensor, Tensor]:
        """DCL in both directions over the pairs that are kept; and the share of them without
        negatives, which is 1 where fewer than two are kept."""
        kind = alignment_kind("dcl_weighted" if self.kind == "dcl_weighted" else "dcl")
        all_pairs = Pairs(
            self.peers.anchors(z_ego, z_exo),
            self.peers.gathered(pairs.similarity),
            Negatives(related=pairs.related, join_related=self.peers.join, extra=pairs.further),
        )
        settings = AlignmentSettings(self.temperature, pairs.threshold, self.sigma)
        share, empty = kind.loss(all_pairs, settings)
        assert empty is not None
        return share * self.peers.processes, empty

    def _factorised(
        self, output: EgoExoOutput, batch: PairedBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """1/2 (L_a by verb + L_a by noun): each over the pairs that share the label, with
        projections of its own (arXiv 2405.17719, 2304.06708)."""
        assert batch.other_exo is not None
        assert output.factors is not None
        ego_verb, ego_noun, exo_verb, exo_noun = output.factors
        losses, empty, kept, similarity = [], [], [], []
        for z_ego, z_exo, exo, labels in (
            (ego_verb, exo_verb, batch.exo, batch.ego.labels[:1]),
            (ego_noun, exo_noun, batch.other_exo, batch.ego.labels[1:]),
        ):
            assert exo.shares_label is not None
            texts = [text_of(batch.ego), text_of(exo)]
            shared = exo.shares_label.to(z_ego.dtype)
            pairs = _Pairs(shared, _HALF, self.peers.related(labels, texts))
            loss, without_negatives = self._contrast(z_ego, z_exo, pairs)
            losses.append(loss)
            empty.append(without_negatives)
            kept.append(shared.mean())
            similarity.append((texts[0] * texts[1]).sum(1).mean())
        return torch.stack(losses).mean(), {
            "pairs_kept": torch.stack(kept).mean(),
            "pair_similarity": torch.stack(similarity).mean(),
            "align_empty": torch.stack(empty).mean(),
        }

    def _further(self, output: EgoExoOutput, batch: PairedBatch) -> ExtraNegatives | None:
        """Exo embeddings (E, D) of the queue and of the independent clips of all processes, and
        which of them are no negatives of a pair, (N, E) bool."""
        found = []
        texts = [text_of(batch.ego), text_of(batch.exo)]
        if self.queue and (rows := self.queue.rows):
            d_queue = [rows["d_ego"], rows["d_exo"]]
            same = self.peers.same(batch.ego.labels, rows["labels"].unbind(1), texts, d_queue)
            no_pair = (rows["similarity"] <= self.threshold).expand(len(texts[0]), -1)
            found.append((rows["z"], no_pair if same is None else no_pair | same))
        if batch.other_exo is not None and output.z_other is not None:
            z_all, d_all = map(self.peers.gathered, (output.z_other, text_of(batch.other_exo)))
            # They have labels of the exo set, and no ego clip.
            labels_all = map(self.peers.gathered, batch.other_exo.labels)
            same = self.peers.same(batch.exo.labels, labels_all, texts, [d_all, d_all])
            if same is None:
                same = torch.zeros(len(texts[0]), len(z_all), dtype=torch.bool, device=z_all.device)
            found.append((z_all, same))
        if not found:
            return None
        z, excluded = zip(*found, strict=True)
        return ExtraNegatives(torch.cat(z), torch.cat(excluded, dim=1))

    def _soft(self, z_ego: Tensor, z_exo: Tensor, similarity: Tensor, batch: PairedBatch) -> Tensor:
        """L_a with soft targets, scaled as the other kinds."""
        gathered = self.peers.gathered
        if self.relevance == "label":
            labels = batch.ego.labels
            overlap = class_overlap(labels, [gathered(y) for y in labels])
            # A pair agrees with itself, labelled or not.
            own = own_rows(self.peers.positions(z_ego), overlap.shape[1])
            to_exo = to_ego = overlap.masked_fill(own, 1.0)
        else:
            d_ego, d_exo = text_of(batch.ego), text_of(batch.exo)
            to_exo, to_ego = d_ego @ gathered(d_exo).T, d_exo @ gathered(d_ego).T
        pairs = Pairs(
            self.peers.anchors(z_ego, z_exo), gathered(similarity), relevance=(to_exo, to_ego)
        )
        settings = AlignmentSettings(self.temperature, self.threshold, self.sigma)
        return alignment_kind("soft").loss(pairs, settings).share * self.peers.processes

    def _order(self, z_ego: Tensor, epoch: int, iteration: int) -> Tensor:
        """The permutation (N,) that gives the triplet its negatives."""
        seed = integer_seed(self.seed, epoch, iteration, Stream.TRIPLET)
        order = torch.randperm(len(z_ego), generator=torch.Generator().manual_seed(seed))
        if z_ego.is_cuda:
            # From pageable memory the copy would wait for the device.
            order = order.pin_memory()
        return order.to(z_ego.device, non_blocking=True)


def _both(output: EgoExoOutput) -> tuple[Tensor, Tensor]:
    assert output.z_ego is not None
    assert output.z_exo is not None
    return output.z_ego, output.z_exo
