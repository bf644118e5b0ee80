"""SUM-L: recognition in two views, aligned with each other and with text (arXiv 2308.11489)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.types import ClipBatch, PairedBatch
from slowfast.models.dropout import reseed_dropout
from slowfast.models.ego_exo import OUTPUT_OF_PART, EgoExoModel, EgoExoOutput
from slowfast.tasks.base import StepOutput, Task, weighted_sum
from slowfast.tasks.recognition import dropout_seed
from slowfast.tasks.terms.base import Input, Step, Term, TermOutput, needs_of
from slowfast.tasks.terms.registry import WeightedTerm
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream


class EgoExoAlignmentTask(Task[PairedBatch, EgoExoOutput]):
    """L = L_f + sum of the terms, each times its weight.

    Losses and counts are named by the terms.
    """

    def __init__(
        self,
        recognition: Term,
        terms: Sequence[WeightedTerm],
        ego_transform: DeviceTransform,
        exo_transform: DeviceTransform,
        seed: int,
    ) -> None:
        """recognition: L_f, of weight 1. seed: of the dropout."""
        self._terms = [(recognition, 1.0), *((term, weight) for _, weight, term in terms)]
        self._uses_exo = Input.EXO_CLIP in needs_of(term for term, _ in self._terms)
        self._ego_transform = ego_transform
        self._exo_transform = exo_transform
        self._seed = seed

    def seed(
        self, model: nn.Module, epoch: int, iteration: int, chunk: int = 0, chunks: int = 1
    ) -> None:
        dual = _unwrapped(model)
        for half, stream in ((dual.ego, Stream.EGO_DROPOUT), (dual.exo, Stream.EXO_DROPOUT)):
            reseed_dropout(half, dropout_seed(self._seed, epoch, iteration, stream, chunk, chunks))

    def forward(self, model: nn.Module, batch: PairedBatch) -> EgoExoOutput:
        ego = self._ego_transform.clips(batch.ego)
        exo = self._exo_clips(batch.exo)
        output: EgoExoOutput = model(ego, exo, self._exo_clips(batch.other_exo))
        for term, _ in self._terms:
            output = term.extend(output, _unwrapped(model), exo)
        return output

    def losses(
        self, output: EgoExoOutput, batch: PairedBatch, epoch: int, iteration: int
    ) -> StepOutput:
        losses: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        counts: dict[str, list[Tensor]] = {}
        for term, weight in self._terms:
            found = _called(term, output, batch, Step(epoch, iteration))
            if taken := losses.keys() & found.losses.keys():
                raise UserError(f"two losses are called {min(taken)}; rename the head or the term")
            losses |= found.losses
            weights |= dict.fromkeys(found.losses, weight)
            for name, count in found.counts.items():
                counts.setdefault(name, []).append(count)
        return StepOutput(
            losses=losses,
            total=weighted_sum(losses, weights),
            logits=[x.detach() for x in output.ego_logits],
            labels=batch.ego.labels,
            counts={name: torch.stack(values).mean() for name, values in counts.items()},
            weights=weights,
        )

    def finish_step(self, model: nn.Module, step_applied: Tensor) -> None:
        for term, _ in self._terms:
            term.finish_step(_unwrapped(model), step_applied)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        for term, _ in self._terms:
            found = term.state_dict()
            if taken := state.keys() & found.keys():
                raise ValueError(f"two terms have a state called {min(taken)}")
            state |= found
        return state

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        for term, _ in self._terms:
            term.load_state_dict(state, device)

    def evaluate(self, model: nn.Module, batch: ClipBatch) -> list[Tensor]:
        scores: list[Tensor] = model(self._ego_transform.clips(batch))
        return scores

    def _exo_clips(self, clips: ClipBatch | None) -> list[Tensor] | None:
        """[slow, fast], where a term reads exo clips."""
        if clips is None or not self._uses_exo:
            return None
        return self._exo_transform.clips(clips)


def _called(term: Term, output: EgoExoOutput, batch: PairedBatch, step: Step) -> TermOutput:
    """The term's output. Raises: TypeError if it fails on a part that no term needs."""
    try:
        return term(output, batch, step)
    except (AssertionError, AttributeError, TypeError) as error:
        missing = [
            f"Part.{part.name}"
            for part, field in OUTPUT_OF_PART.items()
            if part not in term.needs and getattr(output, field) is None
        ]
        if not missing:
            raise
        raise TypeError(
            f"{type(term).__name__} fails on the output of the model, which has no values of parts"
            f" that no term needs; add what it reads of {', '.join(missing)} to its `needs`"
        ) from error


def _unwrapped(model: nn.Module) -> EgoExoModel:
    dual = getattr(model, "module", model)
    assert isinstance(dual, EgoExoModel)
    return dual
