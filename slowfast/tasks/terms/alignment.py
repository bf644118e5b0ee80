"""L_a: the alignment of the two views, of every SUML.ALIGN.KIND (arXiv 2308.11489)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.datasets.types import PairedBatch
from slowfast.losses.alignment import AlignmentSettings, Kind, Pairs, alignment_kind
from slowfast.models.ego_exo import EgoExoModel, EgoExoOutput
from slowfast.models.parts import Part
from slowfast.tasks.terms.base import Input, Step, Term, TermOutput
from slowfast.tasks.terms.clips import text_of
from slowfast.tasks.terms.exo_queue import ExoQueue
from slowfast.tasks.terms.factorised import build_factorised
from slowfast.tasks.terms.pair_inputs import PairInputs
from slowfast.tasks.terms.peers import build_peers
from slowfast.tasks.terms.registry import register_term


class AlignmentTerm(Term):
    """L_a of one kind of `slowfast.losses.alignment`. Loss: align.

    Counts pairs_kept, the share of this process's pairs above the threshold; pair_similarity, the
    mean of all of them; align_empty, the share of the kept pairs without negatives (1 where fewer
    than two pairs of all processes are kept).
    """

    def __init__(
        self,
        kind: Kind,
        settings: AlignmentSettings,
        inputs: PairInputs,
        queue: ExoQueue | None = None,
    ) -> None:
        """queue: the one that `inputs` takes negatives from."""
        self._kind = kind
        self._settings = settings
        self._inputs = inputs
        self._queue = queue
        self.needs = frozenset(
            {Part.EGO_PROJECTION, Part.EXO_PROJECTION, Input.PARTNER, Input.NARRATIONS}
        )

    def extend(
        self, output: EgoExoOutput, model: EgoExoModel, exo_clip: list[Tensor] | None
    ) -> EgoExoOutput:
        if self._queue is None or exo_clip is None:
            return output
        return output._replace(key_exo=self._queue.embed(model, exo_clip))

    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        assert output.z_ego is not None
        assert output.z_exo is not None
        peers, similarity = self._inputs.peers, (text_of(batch.ego) * text_of(batch.exo)).sum(1)
        pairs = Pairs(
            peers.anchors(output.z_ego, output.z_exo),
            peers.gathered(similarity),
            **self._inputs(self._kind.inputs, output, batch, step),
        )
        loss = self._kind.loss(pairs, self._settings)
        counts = {
            "pairs_kept": (similarity > self._settings.threshold).float().mean(),
            "pair_similarity": similarity.mean(),
        }
        if loss.empty is not None:
            counts["align_empty"] = loss.empty
        if self._queue and output.key_exo is not None:
            self._queue.remember(step, output.key_exo, similarity, batch)
        return TermOutput({"align": loss.share * peers.processes}, counts)

    def finish_step(self, model: EgoExoModel, step_applied: Tensor) -> None:
        if self._queue:
            self._queue.finish_step(model, step_applied)

    def state_dict(self) -> dict[str, Any]:
        return {"queue": self._queue.state_dict()} if self._queue else {}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        if self._queue:
            self._queue.load_state_dict(state["queue"], device)


@register_term("ALIGN")
def alignment(cfg: CfgNode) -> Term | None:
    align, queue = cfg.SUML.ALIGN, cfg.SUML.QUEUE
    if align.KIND == "none":
        return None
    if align.KIND == "factorised":
        return build_factorised(cfg)
    kind = alignment_kind(align.KIND)
    peers = build_peers(cfg, kind.gathers)
    settings = AlignmentSettings(
        cfg.SUML.TEMPERATURE, align.THRESHOLD, sigma=align.SIGMA, margin=align.MARGIN
    )
    exo_queue = ExoQueue(queue.SIZE, queue.MOMENTUM) if queue.SIZE else None
    inputs = PairInputs(
        peers,
        by_label=align.RELEVANCE == "label",
        threshold=align.THRESHOLD,
        seed=cfg.RNG_SEED,
        queue=exo_queue,
    )
    term = AlignmentTerm(kind, settings, inputs, exo_queue)
    if "negatives" in kind.inputs and cfg.SUML.EXO_STREAM and peers.compares_labels:
        term.needs |= {Input.EXO_LABELS}
    return term
