"""SUM-L: recognition in both views, tied to each other and to the narrations.

arXiv 2308.11489. Legend: N pairs of this process, M pairs of all processes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.losses.classification import cross_entropy, multilabel
from slowfast.losses.dcl import dcl_rows, not_negative
from slowfast.models.dropout import reseed_dropout
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.tasks.base import StepOutput, Task, weighted_sum
from slowfast.tasks.recognition import dropout_seed
from slowfast.tasks.terms.alignment import AlignmentTerm
from slowfast.tasks.terms.exo_queue import ExoQueue
from slowfast.tasks.terms.peers import Peers, text_of
from slowfast.utils.seeding import Stream


@dataclass(frozen=True)
class AlignmentSettings:
    """What SUM-L trains, and how strongly (SUML.* of the config).

    aligns, uses_exo: whether any term ties the views, and looks at exo clips.
    """

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
    aligns: bool
    uses_exo: bool
    exo_cls: float
    align: float
    ego_text: float
    exo_text: float


class EgoExoAlignmentTask(Task[PairedBatch, EgoExoOutput]):
    """L = L_f + l_t L_t + l_a L_a + l_mf L_m^f + l_mt L_m^t; a term of weight 0 is not computed.

    Further exo clips of a batch (PairedBatch.other_exo) count in L_t and L_m^t as the others.

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
        self._peers = Peers(settings.gather, settings.negatives)
        self._align = AlignmentTerm(
            kind=settings.kind,
            temperature=settings.temperature,
            threshold=settings.threshold,
            sigma=settings.sigma,
            margin=settings.margin,
            relevance=settings.relevance,
            peers=self._peers,
            seed=seed,
            queue=self._queue,
        )
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
        uses_exo = self._settings.uses_exo
        exo = self._exo_transform.clips(batch.exo) if uses_exo else None
        further = batch.other_exo if uses_exo else None
        other = self._exo_transform.clips(further) if further is not None else None
        output: EgoExoOutput = model(ego, exo, other)
        if self._queue and exo is not None:
            output = output._replace(key_exo=self._queue.embed(_unwrapped(model), exo))
        return output

    def losses(
        self, output: EgoExoOutput, batch: PairedBatch, epoch: int, iteration: int
    ) -> StepOutput:
        losses = self._recognition(output, batch)
        text, counts = self._text(output, batch)
        losses.update(text)
        if self._settings.aligns:
            losses["align"], kept = self._align(output, batch, epoch, iteration)
            counts.update(kept)
        return StepOutput(
            losses=losses,
            total=weighted_sum(losses, self._weights),
            logits=[x.detach() for x in output.ego_logits],
            labels=batch.ego.labels,
            counts=counts,
        )

    def finish_step(self, model: nn.Module, step_applied: Tensor) -> None:
        if self._queue:
            self._queue.finish_step(model, step_applied)

    def state_dict(self) -> dict[str, Any]:
        return {"queue": self._queue.state_dict()} if self._queue else {}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        if self._queue:
            self._queue.load_state_dict(state["queue"], device)

    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        scores: list[Tensor] = model(self._ego_transform.clips(batch))
        return scores

    def _recognition(self, output: EgoExoOutput, batch: PairedBatch) -> dict[str, Tensor]:
        verb, noun = cross_entropy(output.ego_logits, batch.ego.labels)
        losses = {"ego_verb": verb, "ego_noun": noun}
        if output.exo_logits is not None:
            logits = output.exo_logits
            if output.other_logits is not None:
                logits = [torch.cat(x) for x in zip(logits, output.other_logits, strict=True)]
            verb, noun = multilabel(logits, _with_other(batch.exo, batch.other_exo).labels)
            losses.update(exo_verb=verb, exo_noun=noun)
        return losses

    def _text(
        self, output: EgoExoOutput, batch: PairedBatch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """L_m: DCL(z -> d) + DCL(d -> z) of each half that has a weight; and the count."""
        losses, empty, settings = {}, [], self._settings
        if settings.ego_text and output.z_ego is not None:
            losses["ego_text"], share = self._two_way(output.z_ego, batch.ego)
            empty.append(share)
        if settings.exo_text and output.z_exo is not None:
            z = [rows for rows in (output.z_exo, output.z_other) if rows is not None]
            clips = _with_other(batch.exo, batch.other_exo)
            losses["exo_text"], share = self._two_way(torch.cat(z), clips)
            empty.append(share)
        return losses, {"text_empty": torch.stack(empty).mean()} if empty else {}

    def _two_way(self, z: Tensor, clips: ClipBatch) -> tuple[Tensor, Tensor]:
        """Both directions over this process's rows, with the negatives of all processes; and the
        share of its rows that have none.

        The mean over processes, which the gradients take too, is the loss of the joined batch.
        """
        d, peers, tau = text_of(clips), self._peers, self._settings.temperature
        z_all, d_all, positions = peers.gathered(z), peers.gathered(d), peers.positions(z)
        related, join = peers.related(clips.labels, [d]), peers.join
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


def _with_other(exo: ClipBatch, other: ClipBatch | None) -> ClipBatch:
    """Labels and text of all exo clips of the batch, (2N, ...) where there are further ones."""
    if other is None:
        return exo
    labels = [torch.cat(pair) for pair in zip(exo.labels, other.labels, strict=True)]
    return replace(exo, labels=labels, text=torch.cat([text_of(exo), text_of(other)]))


def _unwrapped(model: nn.Module) -> nn.Module:
    halves: nn.Module = getattr(model, "module", model)
    return halves
