"""The dual model of SUM-L (arXiv 2308.11489): an ego and an exo recogniser, and projections.

Legend: N clips, F pooled channels, K classes, D embedding width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.models.parts import EXO_PARTS, Part
from slowfast.models.recognizer import Recognizer

# Modules that embed a view for one label alone, in the order of EgoExoOutput.factors.
FACTORS = tuple(
    f"{view}_{label}_projection" for view in ("ego", "exo") for label in ("verb", "noun")
)


class EgoExoOutput(NamedTuple):
    """Output of a training pass; None for a part that is not used.

    ego_logits, exo_logits: [(N, K) per task]. z_ego, z_exo: (N, D), rows of norm 1.
    key_exo: (N, D), as z_exo, from another encoder of the exo clip; not set by the model.
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


# The field of EgoExoOutput that each part fills.
OUTPUT_OF_PART = {
    Part.EGO_PROJECTION: "z_ego",
    Part.EXO_PROJECTION: "z_exo",
    Part.EXO_HEADS: "exo_logits",
    Part.FACTOR_PROJECTIONS: "factors",
}


class Projection(nn.Module):
    """h: L2 normalise, linear, L2 normalise; (N, F) -> (N, D)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.linear(F.normalize(features, dim=1)), dim=1)


class EgoExoModel(nn.Module):
    """`ego` and `exo` recognisers, `ego_projection`, `exo_projection`.

    The recognisers have separate weights, or share one backbone.

    Eval: `model(ego_clip)` gives the ego scores, [(N, K) per task]; the exo half is not used.
    Training: `model(ego_clip, exo_clip)` or `model(ego_clip, exo_clip, other_clip)`, whose exo
    clips pass the exo half as one batch, gives an EgoExoOutput. All parts are in use until `use`
    names those that are needed. The exo recogniser may have no heads.
    """

    def __init__(
        self, ego: Recognizer, exo: Recognizer, embed_dim: int, *, by_factor: bool = False
    ) -> None:
        """by_factor: add projections by verb and by noun, FACTORS."""
        super().__init__()
        self.ego = ego
        self.exo = exo
        self.ego_projection = Projection(ego.head.in_channels, embed_dim)
        self.exo_projection = Projection(exo.head.in_channels, embed_dim)
        self._by_factor = by_factor
        if by_factor:
            for name in FACTORS:
                view = ego if name.startswith("ego") else exo
                self.add_module(name, Projection(view.head.in_channels, embed_dim))
        self._used = self.parts

    @property
    def parts(self) -> frozenset[Part]:
        """The parts that this model has."""
        optional = {
            Part.EXO_HEADS: len(self.exo.head.projections) > 0,
            Part.FACTOR_PROJECTIONS: self._by_factor,
        }
        return frozenset(part for part in Part if optional.get(part, True))

    @property
    def shares_backbone(self) -> bool:
        """Whether both halves have the same backbone (MODEL.SHARE_BACKBONE)."""
        return self.exo.backbone is self.ego.backbone

    @property
    def uses_exo(self) -> bool:
        """Whether training runs the exo half."""
        return bool(self._used & EXO_PARTS)

    def use(self, parts: Collection[Part]) -> None:
        """Switch off the other parts: they are not run, and their parameters get no gradient.

        This cannot be undone; call it before the optimizer is built. An unused exo half keeps its
        batch-norm statistics.

        Raises: ValueError for a part that the model does not have.
        """
        if missing := set(parts) - self.parts:
            raise ValueError(f"no such part: {', '.join(sorted(part.value for part in missing))}")
        self._used = frozenset(parts)
        if not self.uses_exo and not self.shares_backbone:
            self.exo.backbone.requires_grad_(False)
        for part in self.parts - self._used:
            for module in self._modules_of(part):
                module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> EgoExoModel:
        super().train(mode)
        if not self.uses_exo:
            (self.exo.head if self.shares_backbone else self.exo).eval()
        return self

    @property
    def projections(self) -> list[Projection]:
        """All projections, used or not."""
        return [module for module in self.children() if isinstance(module, Projection)]

    def forward(
        self,
        ego_clip: list[Tensor],
        exo_clip: list[Tensor] | None = None,
        other_clip: list[Tensor] | None = None,
    ) -> list[Tensor] | EgoExoOutput:
        """Clips are [slow, fast] of N clips each.

        Raises: ValueError if a training step uses the exo half but has no exo clip.
        """
        if not self.training:
            scores: list[Tensor] = self.ego(ego_clip)
            return scores
        windows = self.ego.windows(ego_clip)
        ego_logits = self.ego.head.classify(windows)
        ego = windows.mean(1)
        z_ego = self.ego_projection(ego) if Part.EGO_PROJECTION in self._used else None
        if not self.uses_exo:
            return EgoExoOutput(ego_logits, None, z_ego, None)
        by_factor = Part.FACTOR_PROJECTIONS in self._used
        if exo_clip is None or (by_factor and other_clip is None):
            raise ValueError(
                "a training step needs the exo clip, and a second one for projections by factor"
            )
        if other_clip is not None:
            exo_clip = [torch.cat(both) for both in zip(exo_clip, other_clip, strict=True)]
        windows = self.exo.windows(exo_clip)
        exo = windows.mean(1)
        logits = self.exo.head.classify(windows) if Part.EXO_HEADS in self._used else None
        z_exo = self.exo_projection(exo) if Part.EXO_PROJECTION in self._used else None
        output = EgoExoOutput(ego_logits, logits, z_ego, z_exo)
        return output if other_clip is None else self._split(output, ego, exo)

    def _split(self, output: EgoExoOutput, ego: Tensor, exo: Tensor) -> EgoExoOutput:
        """Separate the 2N rows of both exo clips, and add their projections by factor.

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
        if Part.FACTOR_PROJECTIONS in self._used:
            features = (ego, ego, exo[:pairs], exo[pairs:])
            factors = zip(FACTORS, features, strict=True)
            output = output._replace(factors=[self.get_submodule(n)(x) for n, x in factors])
        return output

    def _modules_of(self, part: Part) -> Sequence[nn.Module]:
        if part is Part.FACTOR_PROJECTIONS:
            return [self.get_submodule(name) for name in FACTORS]
        modules: dict[Part, nn.Module] = {
            Part.EGO_PROJECTION: self.ego_projection,
            Part.EXO_PROJECTION: self.exo_projection,
            Part.EXO_HEADS: self.exo.head,
        }
        return [modules[part]]
