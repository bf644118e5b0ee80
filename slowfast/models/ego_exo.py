"""The dual model of SUM-L (arXiv 2308.11489): an ego and an exo recogniser, and projections.

Legend: N clips, F pooled channels, K classes, D embedding width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.models.recognizer import Recognizer


class EgoExoOutput(NamedTuple):
    """What a training step needs; None where a part is not trained.

    ego_logits, exo_logits: [(N, K) per task]. z_ego, z_exo: (N, D), rows of norm 1.
    key_exo: (N, D), as z_exo, of another encoder of the exo clip; the model itself gives none.
    """

    ego_logits: list[Tensor]
    exo_logits: list[Tensor] | None
    z_ego: Tensor | None
    z_exo: Tensor | None
    key_exo: Tensor | None = None


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
    Training: `model(ego_clip, exo_clip)` gives an EgoExoOutput. A part that is not used (no loss
    needs it) is not run and its parameters get no gradient.
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
    ) -> None:
        super().__init__()
        self.ego = ego
        self.exo = exo
        self.ego_projection = Projection(ego.head.in_channels, embed_dim)
        self.exo_projection = Projection(exo.head.in_channels, embed_dim)
        self.use_exo_head = use_exo_head
        self.use_ego_projection = use_ego_projection
        self.use_exo_projection = use_exo_projection
        self.use_exo = use_exo_head or use_exo_projection
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

    def forward(
        self, ego_clip: list[Tensor], exo_clip: list[Tensor] | None = None
    ) -> list[Tensor] | EgoExoOutput:
        """Raises: ValueError where a training step uses the exo half and has no exo clip."""
        if not self.training:
            scores: list[Tensor] = self.ego(ego_clip)
            return scores
        windows = self.ego.windows(ego_clip)
        ego_logits = self.ego.head.classify(windows)
        z_ego = self.ego_projection(windows.mean(1)) if self.use_ego_projection else None
        if not self.use_exo:
            return EgoExoOutput(ego_logits, None, z_ego, None)
        if exo_clip is None:
            raise ValueError("a training step needs the exo clip")
        windows = self.exo.windows(exo_clip)
        exo_logits = self.exo.head.classify(windows) if self.use_exo_head else None
        z_exo = self.exo_projection(windows.mean(1)) if self.use_exo_projection else None
        return EgoExoOutput(ego_logits, exo_logits, z_ego, z_exo)
