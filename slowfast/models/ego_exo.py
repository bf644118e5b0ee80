"""The dual model of SUM-L (arXiv 2308.11489): an ego and an exo recogniser, and projections.

Legend: N clips, F pooled channels, K classes, D embedding width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.models.recognizer import Recognizer

# Modules that embed a view for one label alone, in the order of EgoExoOutput.factors.
FACTORS = tuple(
    f"{view}_{label}_projection" for view in ("ego", "exo") for label in ("verb", "noun")
)


class EgoExoOutput(NamedTuple):
    """What a training step needs; None where a part is not trained.

    ego_logits, exo_logits: [(N, K) per task]. z_ego, z_exo: (N, D), rows of norm 1.
    key_exo: (N, D), as z_exo, of another encoder of the exo clip; the model itself gives none.
    other_logits, z_other: as exo_logits and z_exo, of the further exo clips.
    factors: [(N, D)] ego by verb, ego by noun, exo by verb, further exo by noun, rows of norm 1.
    """

    ego_logits: list[Tensor]
    exo_logits: list[Tensor] | None
    z_ego: Tensor | None
    z_exo: Tensor | None
    key_exo: Tensor | None = None
    other_logits: list[Tensor] | None = None
    z_other: Tensor | None = None
    factors: list[Tensor] | None = None


class Projection(nn.Module):
    """h: L2 normalise, linear, L2 normalise; (N, F) -> (N, D)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.linear(F.normalize(features, dim=1)), dim=1)


class EgoExoSlowFast(nn.Module):
    """`ego` and `exo` recognisers with weights of their own, `ego_projection`, `exo_projection`.

    Eval: `model(ego_clip)` gives the ego scores, [(N, K) per task]; the exo half is not touched.
    Training: `model(ego_clip, exo_clip)` or `model(ego_clip, exo_clip, other_clip)`, whose exo
    clips go through the exo half as one batch, gives an EgoExoOutput. A part that is not used (no
    loss needs it) is not run and its parameters get no gradient.
    """

    def __init__(
        self,
        ego: Recognizer,
        exo: Recognizer,
        embed_dim: int,
        *,
        use_exo_head: bool = True,
        use_ego_projection: bool = True,
        use_exo_projection: bool = True,
        by_factor: bool = False,
    ) -> None:
        """by_factor: there are projections by verb and by noun too, FACTORS."""
        super().__init__()
        self.ego = ego
        self.exo = exo
        self.ego_projection = Projection(ego.head.in_channels, embed_dim)
        self.exo_projection = Projection(exo.head.in_channels, embed_dim)
        self.use_exo_head = use_exo_head
        self.use_ego_projection = use_ego_projection
        self.use_exo_projection = use_exo_projection
        self.by_factor = by_factor
        if by_factor:
            for name in FACTORS:
                view = ego if name.startswith("ego") else exo
                self.add_module(name, Projection(view.head.in_channels, embed_dim))
        self.use_exo = use_exo_head or use_exo_projection or by_factor
        for part, used in (
            (self.ego_projection, use_ego_projection),
            (self.exo.backbone, self.use_exo),
            (self.exo.head, use_exo_head),
            (self.exo_projection, use_exo_projection),
        ):
            if not used:
                part.requires_grad_(False)

    def train(self, mode: bool = True) -> EgoExoSlowFast:
        """An exo half that is not used keeps its batch-norm statistics."""
        super().train(mode)
        if not self.use_exo:
            self.exo.eval()
        return self

    @property
    def projections(self) -> list[Projection]:
        """All that there are."""
        return [module for module in self.children() if isinstance(module, Projection)]

    def forward(
        self,
        ego_clip: list[Tensor],
        exo_clip: list[Tensor] | None = None,
        other_clip: list[Tensor] | None = None,
    ) -> list[Tensor] | EgoExoOutput:
        """Clips are [slow, fast] of N clips each.

        Raises: ValueError where a training step uses the exo half and lacks an exo clip.
        """
        if not self.training:
            scores: list[Tensor] = self.ego(ego_clip)
            return scores
        windows = self.ego.windows(ego_clip)
        ego_logits = self.ego.head.classify(windows)
        ego = windows.mean(1)
        z_ego = self.ego_projection(ego) if self.use_ego_projection else None
        if not self.use_exo:
            return EgoExoOutput(ego_logits, None, z_ego, None)
        if exo_clip is None or (self.by_factor and other_clip is None):
            raise ValueError("a training step needs the exo clip, and one by noun if by_factor")
        if other_clip is not None:
            exo_clip = [torch.cat(both) for both in zip(exo_clip, other_clip, strict=True)]
        windows = self.exo.windows(exo_clip)
        exo = windows.mean(1)
        logits = self.exo.head.classify(windows) if self.use_exo_head else None
        z_exo = self.exo_projection(exo) if self.use_exo_projection else None
        output = EgoExoOutput(ego_logits, logits, z_ego, z_exo)
        return output if other_clip is None else self._split(output, ego, exo)

    def _split(self, output: EgoExoOutput, ego: Tensor, exo: Tensor) -> EgoExoOutput:
        """The 2N rows of both exo clips apart, and their projections by factor.

        ego: (N, F), exo: (2N, F) pooled features.
        """
        pairs = len(ego)
        logits, z_exo = output.exo_logits, output.z_exo
        if logits is not None:
            output = output._replace(
                exo_logits=[rows[:pairs] for rows in logits],
                other_logits=[rows[pairs:] for rows in logits],
            )
        if z_exo is not None:
            output = output._replace(z_exo=z_exo[:pairs], z_other=z_exo[pairs:])
        if self.by_factor:
            features = (ego, ego, exo[:pairs], exo[pairs:])
            factors = zip(FACTORS, features, strict=True)
            output = output._replace(factors=[self.get_submodule(n)(x) for n, x in factors])
        return output
