"""L_m: each view's clips against their narrations.

Legend: n clips of this process, D embedding width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.losses.dcl import dcl_rows, without_negatives
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.models.parts import Part
from slowfast.tasks.terms.base import Input, Step, Term, TermOutput
from slowfast.tasks.terms.clips import all_exo, meaning_of, text_of
from slowfast.tasks.terms.peers import Peers, build_peers
from slowfast.tasks.terms.registry import register_term


class TextContrast:
    """DCL(z -> d) + DCL(d -> z), with negatives from all processes.

    among_text: narrations are negatives of narrations.
    """

    def __init__(self, peers: Peers, temperature: float, among_text: bool) -> None:
        self.peers = peers
        self._temperature = temperature
        self._among_text = among_text

    def __call__(self, name: str, z: Tensor, clips: ClipBatch) -> TermOutput:
        """z: (n, D) embeddings of the clips.

        Counts text_empty, the share of the anchors without negatives.
        """
        d = text_of(clips)
        anchors, negatives = self.peers.anchors(z, d), self.peers.negatives(meaning_of(clips))
        of_text = replace(negatives, within=self._among_text)
        from_video = dcl_rows(anchors, self._temperature, negatives=negatives)
        from_text = dcl_rows(anchors.swapped(), self._temperature, negatives=of_text)
        empty = without_negatives(anchors, negatives).float().mean()
        return TermOutput({name: from_video.mean() + from_text.mean()}, {"text_empty": empty})


class EgoText(Term):
    """L_m of the ego clips. Loss: ego_text."""

    needs = frozenset({Part.EGO_PROJECTION, Input.NARRATIONS})

    def __init__(self, contrast: TextContrast) -> None:
        self._contrast = contrast

    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        assert output.z_ego is not None
        return self._contrast("ego_text", output.z_ego, batch.ego)


class ExoText(Term):
    """L_m of all exo clips of the batch. Loss: exo_text."""

    def __init__(self, contrast: TextContrast) -> None:
        self._contrast = contrast
        self.needs = frozenset({Part.EXO_PROJECTION, Input.NARRATIONS})
        if contrast.peers.compares_labels:
            self.needs |= {Input.EXO_LABELS}

    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        z = [rows for rows in (output.z_exo, output.z_other) if rows is not None]
        return self._contrast("exo_text", torch.cat(z), all_exo(batch))


@register_term("EGO_TEXT")
def ego_text(cfg: CfgNode) -> EgoText:
    return EgoText(_contrast(cfg))


@register_term("EXO_TEXT")
def exo_text(cfg: CfgNode) -> ExoText:
    return ExoText(_contrast(cfg))


def _contrast(cfg: CfgNode) -> TextContrast:
    suml = cfg.SUML
    return TextContrast(build_peers(cfg), suml.TEMPERATURE, suml.TEXT_NEGATIVES == "both")
