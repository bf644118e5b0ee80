"""SUM-L: recognition in both views, tied to each other and to the narrations.

arXiv 2308.11489. Legend: N pairs of this process, M pairs of all processes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.losses.alignment import alignment_share, soft_alignment_share, triplet
from slowfast.losses.classification import cross_entropy, multilabel
from slowfast.losses.dcl import dcl_rows, not_negative
from slowfast.losses.negatives import class_overlap, same_classes, same_text
from slowfast.models.dropout import reseed_dropout
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.tasks.base import StepOutput, Task, weighted_sum
from slowfast.tasks.exo_queue import ExoQueue
from slowfast.tasks.recognition import dropout_seed
from slowfast.utils import distributed
from slowfast.utils.seeding import Stream, integer_seed


@dataclass(frozen=True)
class AlignmentSettings:
    """What SUM-L trains, and how strongly (SUML.* of the config)."""

    temperature: float
    kind: str
    threshold: float
    sigma: float
    margin: float
    relevance: str
    negatives: str
    text_negatives: str
    queue: int
    queue_momentum: float
    gather: bool
    exo_cls: float
    align: float
    ego_text: float
    exo_text: float


class EgoExoAlignmentTask(Task[PairedBatch, EgoExoOutput]):
    """L = L_f + l_t L_t + l_a L_a + l_mf L_m^f + l_mt L_m^t; a term of weight 0 is not computed.

    Losses by name: ego_verb, ego_noun (L_f), exo_verb, exo_noun (L_t), align (L_a), ego_text,
    exo_text (L_m). For the log: pairs_kept (share of this process's pairs above the threshold),
    pair_similarity (their mean), align_empty (share of the kept pairs without negatives; 1 where
    fewer than two pairs of all processes are kept), text_empty (share of the anchors of the text
    terms without negatives).
    """

    def __init__(
        self,
        settings: AlignmentSettings,
        ego_transform: DeviceTransform,
        exo_transform: DeviceTransform,
        seed: int,
    ) -> None:
        self._settings = settings
        self._ego_transform = ego_transform
        self._exo_transform = exo_transform
        self._seed = seed
        self._queue = ExoQueue(settings.queue, settings.queue_momentum) if settings.queue else None
        self._weights = {
            "exo_verb": settings.exo_cls,
            "exo_noun": settings.exo_cls,
            "align": settings.align,
            "ego_text": settings.ego_text,
            "exo_text": settings.exo_text,
        }

    def seed(
        self, model: nn.Module, epoch: int, iteration: int, chunk: int = 0, chunks: int = 1
    ) -> None:
        halves = _unwrapped(model)
        for half, stream in (("ego", Stream.EGO_DROPOUT), ("exo", Stream.EXO_DROPOUT)):
            seed = dropout_seed(self._seed, epoch, iteration, stream, chunk, chunks)
            reseed_dropout(halves.get_submodule(half), seed)

    def forward(self, model: nn.Module, batch: PairedBatch) -> EgoExoOutput:
        ego = self._ego_transform.clips(batch.ego)
        exo = self._exo_transform.clips(batch.exo) if self._uses_exo else None
        output: EgoExoOutput = model(ego, exo)
        if self._queue and exo is not None:
            output = output._replace(key_exo=self._queue.embed(_unwrapped(model), exo))
        return output

    def losses(
        self, output: EgoExoOutput, batch: PairedBatch, epoch: int, iteration: int
    ) -> StepOutput:
        losses = self._recognition(output, batch)
        text, counts = self._text(output, batch)
        losses.update(text)
        if self._aligns:
            losses["align"], kept = self._align(output, batch, epoch, iteration)
            counts.update(kept)
        return StepOutput(
            losses=losses,
            total=weighted_sum(losses, self._weights),
            logits=[x.detach() for x in output.ego_logits],
            labels=batch.ego.labels,
            counts=counts,
        )

    def finish_step(self, model: nn.Module, made: Tensor) -> None:
        if self._queue:
            self._queue.finish_step(model, made)

    def state_dict(self) -> dict[str, Any]:
        return {"queue": self._queue.state_dict()} if self._queue else {}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        if self._queue:
            self._queue.load_state_dict(state["queue"], device)

    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        scores: list[Tensor] = model(self._ego_transform.clips(batch))
        return scores

    @property
    def _uses_exo(self) -> bool:
        return self._aligns or self._settings.exo_cls > 0 or self._settings.exo_text > 0

    @property
    def _aligns(self) -> bool:
        return self._settings.kind != "none" and self._settings.align > 0

    def _recognition(self, output: EgoExoOutput, batch: PairedBatch) -> dict[str, Tensor]:
        verb, noun = cross_entropy(output.ego_logits, batch.ego.labels)
        losses = {"ego_verb": verb, "ego_noun": noun}
        if output.exo_logits is not None:
            verb, noun = multilabel(output.exo_logits, batch.exo.labels)
            losses.update(exo_verb=verb, exo_noun=noun)
        return losses

    def _text(
        self, output: EgoExoOutput, batch: PairedBatch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """L_m: DCL(z -> d) + DCL(d -> z) of each half that has a weight; and the count."""
        losses, empty = {}, []
        for name, weight, z, clips in (
            ("ego_text", self._settings.ego_text, output.z_ego, batch.ego),
            ("exo_text", self._settings.exo_text, output.z_exo, batch.exo),
        ):
            if weight and z is not None:
                losses[name], share = self._two_way(z, clips)
                empty.append(share)
        return losses, {"text_empty": torch.stack(empty).mean()} if empty else {}

    def _two_way(self, z: Tensor, clips: ClipBatch) -> tuple[Tensor, Tensor]:
        """Both directions over this process's rows, with the negatives of all processes; and the
        share of its rows that have none.

        The mean over processes, which the gradients take too, is the loss of the joined batch.
        """
        d = _text_of(clips)
        z_all, d_all, positions = self._gathered(z), self._gathered(d), self._positions(z)
        tau, related, join = self._settings.temperature, self._related(clips), self._joins
        among_text = self._settings.text_negatives == "both"
        from_video = dcl_rows(
            z, d, z_all, d_all, positions, tau, related=related, join_related=join
        )
        from_text = dcl_rows(
            *(d, z, d_all, z_all, positions, tau),
            related=related,
            join_related=join,
            within=among_text,
        )
        empty = not_negative(positions, len(z_all), related=related).all(1).float().mean()
        return from_video.mean() + from_text.mean(), empty

    def _align(
        self, output: EgoExoOutput, batch: PairedBatch, epoch: int, iteration: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_a, scaled so that its mean over processes is the loss of the joined batch."""
        settings, z_ego, z_exo = self._settings, output.z_ego, output.z_exo
        assert z_ego is not None
        assert z_exo is not None
        similarity = (_text_of(batch.ego) * _text_of(batch.exo)).sum(1)
        kept = similarity > settings.threshold
        counts = {
            "pairs_kept": kept.float().mean(),
            "pair_similarity": similarity.mean(),
        }
        if settings.kind == "triplet":
            seed = integer_seed(self._seed, epoch, iteration, Stream.TRIPLET)
            shuffle = torch.Generator().manual_seed(seed)
            order = torch.randperm(len(z_ego), generator=shuffle)
            if z_ego.is_cuda:
                # From pageable memory the copy would wait for the device.
                order = order.pin_memory()
            negative = z_ego[order.to(z_ego.device, non_blocking=True)]
            return triplet(z_ego, z_exo, negative, settings.margin), counts
        if settings.kind == "soft":
            counts["align_empty"] = similarity.new_full((), float(self._rows_in_all(batch) < 2))
            return self._soft(z_ego, z_exo, batch), counts
        similarity_all = self._gathered(similarity)
        positions, related = self._positions(z_ego), self._related(batch.ego, batch.exo)
        kept_all = similarity_all > settings.threshold
        alone = not_negative(positions, len(similarity_all), kept_all, related).all(1) & kept
        earlier, excluded = self._earlier(batch)
        if excluded is not None:
            alone = alone & excluded.all(1)
        counts["align_empty"] = torch.where(
            kept_all.sum() < (2 if excluded is None else 1),
            1.0,
            alone.sum() / kept.sum().clamp(min=1),
        )
        share = alignment_share(
            z_ego,
            z_exo,
            self._gathered(z_ego),
            self._gathered(z_exo),
            similarity_all,
            positions,
            settings.temperature,
            settings.threshold,
            settings.sigma,
            settings.kind,
            related=related,
            join_related=self._joins,
            extra=earlier,
            extra_excluded=excluded,
        )
        if self._queue and output.key_exo is not None:
            self._queue.remember(
                (epoch, iteration),
                z=output.key_exo,
                similarity=similarity,
                labels=torch.stack(batch.ego.labels, dim=1),
                d_ego=_text_of(batch.ego),
                d_exo=_text_of(batch.exo),
            )
        return share * self._processes, counts

    def _earlier(self, batch: PairedBatch) -> tuple[Tensor | None, Tensor | None]:
        """Exo embeddings of the queue (Q, D), and which are no negatives of a pair, (N, Q) bool."""
        rows = self._queue.rows if self._queue else {}
        if not rows:
            return None, None
        excluded = (rows["similarity"] <= self._settings.threshold).expand(
            len(batch.ego.indices), -1
        )
        related = self._same(
            batch.ego.labels,
            rows["labels"].unbind(1),
            [_text_of(batch.ego), _text_of(batch.exo)],
            [rows["d_ego"], rows["d_exo"]],
        )
        return rows["z"], excluded if related is None else excluded | related

    def _soft(self, z_ego: Tensor, z_exo: Tensor, batch: PairedBatch) -> Tensor:
        """L_a with soft targets, scaled as the other kinds."""
        if self._settings.relevance == "label":
            labels = batch.ego.labels
            overlap = class_overlap(labels, [self._gathered(y) for y in labels])
            # A pair agrees with itself, labelled or not.
            own = not_negative(self._positions(z_ego), overlap.shape[1])
            to_exo = to_ego = overlap.masked_fill(own, 1.0)
        else:
            d_ego, d_exo = _text_of(batch.ego), _text_of(batch.exo)
            to_exo, to_ego = d_ego @ self._gathered(d_exo).T, d_exo @ self._gathered(d_ego).T
        share = soft_alignment_share(
            z_ego,
            z_exo,
            self._gathered(z_ego),
            self._gathered(z_exo),
            to_exo,
            to_ego,
            self._settings.temperature,
            self._settings.sigma,
        )
        return share * self._processes

    def _related(self, *views: ClipBatch) -> Tensor | None:
        """(N, M) bool, which rows SUML.NEGATIVES takes out of the negatives; None: no row.

        By the narrations of any of the views, or by the labels of the first one.
        """
        labels, texts = views[0].labels, [_text_of(clips) for clips in views]
        # Gathered only where they are used.
        return self._same(labels, map(self._gathered, labels), texts, map(self._gathered, texts))

    def _same(
        self,
        labels: Iterable[Tensor],
        labels_all: Iterable[Tensor],
        texts: Iterable[Tensor],
        texts_all: Iterable[Tensor],
    ) -> Tensor | None:
        if self._settings.negatives == "all":
            return None
        if self._settings.negatives == "drop_same_text":
            found = [same_text(d, d_all) for d, d_all in zip(texts, texts_all, strict=True)]
            return torch.stack(found).any(0)
        return same_classes(labels, labels_all)

    @property
    def _joins(self) -> bool:
        return self._settings.negatives == "multi_positive"

    @property
    def _processes(self) -> int:
        """Whose rows are negatives."""
        return distributed.world_size() if self._settings.gather else 1

    def _rows_in_all(self, batch: PairedBatch) -> int:
        """M."""
        return len(batch.ego.indices) * self._processes

    def _gathered(self, rows: Tensor) -> Tensor:
        return distributed.all_gather(rows) if self._settings.gather else rows

    def _positions(self, rows: Tensor) -> Tensor:
        """Where this process's rows stand among the gathered ones."""
        first = distributed.rank() * len(rows) if self._settings.gather else 0
        return torch.arange(first, first + len(rows), device=rows.device)


def _unwrapped(model: nn.Module) -> nn.Module:
    halves: nn.Module = getattr(model, "module", model)
    return halves


def _text_of(batch: ClipBatch) -> Tensor:
    assert batch.text is not None, "the paired data set attaches narration embeddings"
    return batch.text
