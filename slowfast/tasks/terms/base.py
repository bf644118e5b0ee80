"""The interface of a SUM-L term: its inputs, and what it adds to a step.

Legend: N pairs of this process, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from slowfast.datasets.types import PairedBatch
from slowfast.models.ego_exo import EgoExoModel, EgoExoOutput
from slowfast.models.parts import EXO_PARTS, Part


class Input(Enum):
    """Inputs of the batch that a term may need; the value names them in errors."""

    EXO_CLIP = "exo clips"
    EXO_LABELS = "labels of exo clips"
    PARTNER = "an exo partner of each ego clip"
    FACTOR_PARTNERS = "exo partners by verb and by noun"
    NARRATIONS = "embeddings of narrations"


Requirement = Part | Input


class Step(NamedTuple):
    """Position of a step in the run."""

    epoch: int
    iteration: int


@dataclass(frozen=True)
class TermOutput:
    """Losses and counts of one term.

    losses: scalars by name, before the term's weight; their mean over processes is the loss of the
        joined batch.
    counts: detached float scalars for the log. Those of one name from several terms are averaged.
    """

    losses: dict[str, Tensor]
    counts: dict[str, Tensor] = field(default_factory=dict)


class Term(ABC):
    """One term of the objective.

    needs: parts of the model and inputs of the batch that it reads. They are checked before the
        first step, and a part that no term needs is switched off.
    """

    needs: frozenset[Requirement] = frozenset()

    @abstractmethod
    def __call__(self, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
        """Losses of a forward pass over `batch`, whose frames are not used."""

    def extend(
        self, output: EgoExoOutput, model: EgoExoModel, exo_clip: list[Tensor] | None
    ) -> EgoExoOutput:
        """Add to the output what the term computes from the clips itself.

        exo_clip: [slow, fast] of N clips, or None if no term reads exo clips.
        """
        return output

    def finish_step(self, model: EgoExoModel, step_applied: Tensor) -> None:  # noqa: B027
        """Update the state of the term after the optimizer; step_applied: as `Task.finish_step`."""

    def state_dict(self) -> dict[str, Any]:
        """State for an exact resume, under names that no other term uses."""
        return {}

    def load_state_dict(  # noqa: B027
        self, state: Mapping[str, Any], device: torch.device
    ) -> None:
        """Resume from the joined states of all terms, which are not empty."""


def needs_of(terms: Iterable[Term]) -> frozenset[Requirement]:
    """Everything that the terms need; an exo part of the model needs exo clips."""
    needs: frozenset[Requirement] = frozenset().union(*(term.needs for term in terms))
    return needs | {Input.EXO_CLIP} if needs & EXO_PARTS else needs


def parts_of(terms: Iterable[Term]) -> frozenset[Part]:
    """The parts of the model that the terms need."""
    return frozenset(need for need in needs_of(terms) if isinstance(need, Part))
