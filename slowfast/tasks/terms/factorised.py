"""L_a by verb and by noun (arXiv 2405.17719, 2304.06708): SUML.ALIGN.KIND factorised.

Legend: N pairs of this process, D embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.config.heads import ego_heads
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.losses.alignment import AlignmentSettings, Pairs, alignment_kind
from slowfast.models.ego_exo import EgoExoOutput
from slowfast.models.parts import Part
from slowfast.tasks.terms.base import Input, Step, Term, TermOutput
from slowfast.tasks.terms.clips import meanings_of_pairs, text_of
from slowfast.tasks.terms.peers import Peers, build_peers

# Between the similarities of a pair by label: 1 where the partner has the label, else 0.
LABEL_MATCH_THRESHOLD = 0.5


class _Factor(NamedTuple):
    """Pairs by one label: embeddings (N, D), the partners, and the label of the ego clips.

    classes: of the partners, as in `meanings_of_pairs`.
    """

    z_ego: Tensor
    z_exo: Tensor
    partner: ClipBatch
    labels: Tensor
    classes: Sequence[Tensor] | None


class FactorisedAlignment(Term):
    """1/2 (L_a by verb + L_a by noun), each over the pairs that share the label. Loss: align.

    Each has its own partners and projections. Counts as `AlignmentTerm`, means of both; kept
    are the pairs that share the label.
    """

    needs = frozenset({Part.FACTOR_PROJECTIONS, Input.FACTOR_PARTNERS, Input.NARRATIONS})

    def __init__(self, temperature: float, peers: Peers, heads: Sequence[str]) -> None:
        """heads: names of the ego heads, including verb and noun."""
        self._settings = AlignmentSettings(temperature, LABEL_MATCH_THRESHOLD)
        self._peers = peers
        self._heads = list(heads)

    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        outputs = [self._of(factor, batch) for factor in self._factors(output, batch)]
        losses, counts = zip(*((o.losses["align"], o.counts) for o in outputs), strict=True)
        return TermOutput(
            {"align": torch.stack(losses).mean()},
            {name: torch.stack([c[name] for c in counts]).mean() for name in counts[0]},
        )

    def _factors(self, output: EgoExoOutput, batch: PairedBatch) -> Iterator[_Factor]:
        assert batch.other_exo is not None
        assert output.factors is not None
        verb, noun = (batch.ego.labels[self._heads.index(name)] for name in ("verb", "noun"))
        ego_verb, ego_noun, exo_verb, exo_noun = output.factors
        verbs, nouns = batch.exo.ego_classes, batch.other_exo.ego_classes
        yield _Factor(ego_verb, exo_verb, batch.exo, verb, verbs and verbs[:1])
        yield _Factor(ego_noun, exo_noun, batch.other_exo, noun, nouns and nouns[1:])

    def _of(self, factor: _Factor, batch: PairedBatch) -> TermOutput:
        assert factor.partner.shares_label is not None
        texts = [text_of(batch.ego), text_of(factor.partner)]
        shared = factor.partner.shares_label.to(factor.z_ego.dtype)
        pairs = Pairs(
            self._peers.anchors(factor.z_ego, factor.z_exo),
            self._peers.gathered(shared),
            self._peers.negatives(*meanings_of_pairs([factor.labels], factor.classes, texts)),
        )
        loss = alignment_kind("dcl").loss(pairs, self._settings)
        assert loss.empty is not None
        return TermOutput(
            {"align": loss.share * self._peers.processes},
            {
                "pairs_kept": shared.mean(),
                "pair_similarity": (texts[0] * texts[1]).sum(1).mean(),
                "align_empty": loss.empty,
            },
        )


def build_factorised(cfg: CfgNode) -> FactorisedAlignment:
    heads = [head.name for head in ego_heads(cfg)]
    return FactorisedAlignment(cfg.SUML.TEMPERATURE, build_peers(cfg), heads)
