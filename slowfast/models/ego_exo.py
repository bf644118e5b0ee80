"""The dual model of SUM-L: an ego and an exo recogniser with weights of their own, projections.

Legend: N clips, F pooled width, K classes, D embedding width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.models.recognizer import Recognizer


class EgoExoOutput(NamedTuple):
    """What a training step needs; None where a part is not trained.

    ego_logits, exo_logits: [(N, K) per task]. z_ego, z_exo: (N, D), rows of norm 1.
    """

    ego_logits: list[Tensor]
    exo_logits: list[Tensor] | None
    z_ego: Tensor | None
    z_exo: Tensor | None


class Projection(nn.Module):
    """h: L2 normalise, linear, L2 normalise; (N, F) -> (N, D)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, pooled: Tensor) -> Tensor:
        return F.normalize(self.linear(F.normalize(pooled, dim=1)), dim=1)


class EgoExoSlowFast(nn.Module):
    """`ego` and `exo` recognisers, `ego_projection` and `exo_projection`.

    Eval: `model(ego_clip)` gives the ego scores; the exo half is not touched.
    Training: `model(ego_clip, exo_clip)` gives an EgoExoOutput of the parts that are trained. The
    parameters of the other parts get no gradient.
    """

    def __init__(
        self,
        ego: Recognizer,
        exo: Recognizer,
        pooled_channels: int,
        embed_dim: int,
        *,
        use_exo_head: bool = True,
        use_ego_projection: bool = True,
        use_exo_projection: bool = True,
    ) -> None:
        super().__init__()
        self.ego = ego
        self.exo = exo
        self.ego_projection = Projection(pooled_channels, embed_dim)
        self.exo_projection = Projection(pooled_channels, embed_dim)
        self.use_exo_head = use_exo_head
        self.use_ego_projection = use_ego_projection
        self.use_exo_projection = use_exo_projection
        self.use_exo = use_exo_head or use_exo_projection
        self.ego_projection.requires_grad_(use_ego_projection)
        self.exo_projection.requires_grad_(use_exo_projection)
        self.exo.backbone.requires_grad_(self.use_exo)
        self.exo.head.requires_grad_(use_exo_head)

    def forward(
        self, ego_clip: list[Tensor], exo_clip: list[Tensor] | None = None
    ) -> list[Tensor] | EgoExoOutput:
        if not self.training:
            scores: list[Tensor] = self.ego(ego_clip)
            return scores
        pooled = self.ego.pooled(ego_clip)
        z_ego = self.ego_projection(pooled.mean(1)) if self.use_ego_projection else None
        ego_logits = self.ego.head.classify(pooled)
        exo_logits, z_exo = None, None
        if self.use_exo:
            assert exo_clip is not None, "training needs the exo clip"
            pooled = self.exo.pooled(exo_clip)
            z_exo = self.exo_projection(pooled.mean(1)) if self.use_exo_projection else None
            exo_logits = self.exo.head.classify(pooled) if self.use_exo_head else None
        return EgoExoOutput(ego_logits, exo_logits, z_ego, z_exo)
