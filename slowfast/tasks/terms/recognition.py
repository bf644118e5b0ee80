"""L_f and L_t: classification of the ego and of the exo clips."""

from __future__ import annotations

import torch
from fvcore.common.config import CfgNode

from slowfast.config.heads import ego_heads, exo_heads
from slowfast.datasets.registry import SOURCE_REGISTRY
from slowfast.datasets.types import PairedBatch
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.models.parts import Part
from slowfast.tasks.head_losses import HeadLosses
from slowfast.tasks.terms.base import Step, Term, TermOutput
from slowfast.tasks.terms.clips import all_exo
from slowfast.tasks.terms.registry import register_term


class EgoRecognition(Term):
    """L_f. Losses: ego_HEAD. It is always trained, with weight 1."""

    def __init__(self, losses: HeadLosses) -> None:
        self._losses = losses

    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        return TermOutput(self._losses(output.ego_logits, batch.ego.labels))


class ExoRecognition(Term):
    """L_t, over all exo clips of the batch. Losses: exo_HEAD."""

    needs = frozenset({Part.EXO_HEADS})

    def __init__(self, losses: HeadLosses) -> None:
        self._losses = losses

    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        assert output.exo_logits is not None
        logits = output.exo_logits
        if output.other_logits is not None:
            logits = [torch.cat(x) for x in zip(logits, output.other_logits, strict=True)]
        return TermOutput(self._losses(logits, all_exo(batch).labels))


def ego_recognition(cfg: CfgNode) -> EgoRecognition:
    return EgoRecognition(HeadLosses(ego_heads(cfg), "ego_"))


@register_term("EXO_CLS")
def exo_recognition(cfg: CfgNode) -> ExoRecognition | None:
    """L_t; None if EXO.HEAD_NAMES is empty for a data set whose labels the config names."""
    heads = exo_heads(cfg)
    if not heads and SOURCE_REGISTRY.get(cfg.EXO.DATASET, "EXO.DATASET").heads is None:
        return None
    return ExoRecognition(HeadLosses(heads, "exo_", of_sets=bool(cfg.EXO.MORE)))
