"""Report of steps whose loss or gradient was not finite."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from slowfast.datasets.loading.loader import BatchLoader
from slowfast.engine.step.finite import BadStep
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically

logger = logging.getLogger(__name__)

_IDS_IN_ERROR = 8
# Per rank: its terms that were not finite, and the narrations of its batch.
_Ranks = Sequence[tuple[tuple[str, ...], list[str]]]


class NonFiniteSteps:
    """Counts the masked steps of a run; more than the config allows end it."""

    def __init__(self, limit: int, loader: BatchLoader[Any], output_dir: str) -> None:
        """limit: SOLVER.SKIP_NONFINITE. loader: of the training; rebuilds the batches."""
        self.skipped = 0
        self._limit = limit
        self._loader = loader
        self._folder = Path(output_dir) / "nonfinite"

    def report(self, steps: Sequence[BadStep]) -> None:
        """Log the steps, which are the same on every rank. Called on every rank.

        Raises: UserError, for one step too many, with its terms, narrations and saved batch.
        """
        for step in steps:
            self.skipped += 1
            ranks: _Ranks = distributed.gather_objects((step.terms, self._narrations(step)))
            text = _sentence(step, ranks)
            if self.skipped > self._limit:
                raise UserError(
                    f"{text}; no weight was changed by it; its batch is in "
                    f"{self._saved(step, ranks)}; lower SOLVER.BASE_LR or allow some skipped "
                    "steps with SOLVER.SKIP_NONFINITE"
                )
            if distributed.is_main():
                logger.warning(
                    "%s; the step was skipped (%d of SOLVER.SKIP_NONFINITE %d)",
                    text,
                    self.skipped,
                    self._limit,
                )

    def _narrations(self, step: BadStep) -> list[str]:
        segments = self._loader.dataset.segments
        keys = self._loader.sampler.keys(step.epoch, step.iteration)
        return [segments[key.index].segment_id for key in keys]

    def _saved(self, step: BadStep, ranks: _Ranks) -> str:
        """Save the batches of the ranks at fault; the first file, or why there is none."""
        at_fault = step.terms or not any(terms for terms, _ in ranks)
        own = ""
        if at_fault:
            try:
                own = str(self._save(step))
            except (OSError, RuntimeError, UserError) as error:
                # torch.save makes a RuntimeError of a full disk.
                own = f"no file ({error})"
        return next(path for path in distributed.gather_objects(own) if path)

    def _save(self, step: BadStep) -> Path:
        """Write this rank's batch of the step, loaded again as it was."""
        name = f"epoch_{step.epoch + 1:05d}_iter_{step.iteration + 1:07d}"
        path = self._folder / f"{name}_rank_{distributed.rank()}.pt"
        content = {
            "narration_ids": self._narrations(step),
            "batch": self._loader.rebuild(step.epoch, step.iteration),
        }
        write_atomically(path, lambda file: torch.save(content, file))
        return path


def _sentence(step: BadStep, ranks: _Ranks) -> str:
    parts = []
    some_term = any(terms for terms, _ in ranks)
    for rank, (terms, narrations) in enumerate(ranks):
        if some_term and not terms:
            continue
        shown = ", ".join(narrations[:_IDS_IN_ERROR])
        more = len(narrations) - _IDS_IN_ERROR
        rest = f" and {more} more" if more > 0 else ""
        parts.append(f"{', '.join(terms) or 'a gradient'} on rank {rank} ({shown}{rest})")
    return f"not finite in epoch {step.epoch + 1}, step {step.iteration + 1}: {'; '.join(parts)}"
