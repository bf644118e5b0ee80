"""What the user is told about steps whose loss or gradient was not finite."""

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

logger = logging.getLogger(__name__)

_IDS_IN_ERROR = 8


class NonFiniteSteps:
    """Counts the masked steps of a training; more than the config allows end it on all ranks."""

    def __init__(self, limit: int, loader: BatchLoader[Any], output_dir: str) -> None:
        """limit: SOLVER.SKIP_NONFINITE. loader: of the training, whose batches are rebuilt."""
        self.skipped = 0
        self._limit = limit
        self._loader = loader
        self._folder = Path(output_dir) / "nonfinite"

    def report(self, steps: Sequence[BadStep]) -> None:
        """Log the steps (the same ones on every rank), and stop where they are too many.

        Raises: UserError that names terms, step, narrations, and the file of the batch.
        """
        for step in steps:
            self.skipped += 1
            told = distributed.gather_objects((step.terms, self._narrations(step)))
            text = _sentence(step, told)
            if self.skipped <= self._limit:
                if distributed.is_main():
                    logger.warning(
                        "%s; the step was skipped (%d of SOLVER.SKIP_NONFINITE %d)",
                        text,
                        self.skipped,
                        self._limit,
                    )
                continue
            saved = self._save(step) if step.terms or not any(terms for terms, _ in told) else None
            saved = next((path for path in distributed.gather_objects(saved) if path), None)
            raise UserError(
                f"{text}; no weight was changed by it; its batch is in {saved}; lower "
                "SOLVER.BASE_LR or allow some skipped steps with SOLVER.SKIP_NONFINITE"
            )

    def _narrations(self, step: BadStep) -> list[str]:
        segments = self._loader.dataset.segments
        keys = self._loader.sampler.keys(step.epoch, step.iteration)
        return [segments[key.index].segment_id for key in keys]

    def _save(self, step: BadStep) -> str:
        """The file with this rank's batch of the step, loaded again as it was; or why not."""
        try:
            return str(self._rebuilt(step))
        except (OSError, RuntimeError, UserError) as error:
            # torch.save makes a RuntimeError of a full disk.
            return f"no file ({error})"

    def _rebuilt(self, step: BadStep) -> Path:
        name = f"epoch_{step.epoch + 1:05d}_iter_{step.iteration + 1:07d}"
        path = self._folder / f"{name}_rank_{distributed.rank()}.pt"
        self._folder.mkdir(parents=True, exist_ok=True)
        content = {
            "narration_ids": self._narrations(step),
            "batch": self._loader.rebuild(step.epoch, step.iteration),
        }
        torch.save(content, path)
        return path


def _sentence(step: BadStep, told: Sequence[tuple[tuple[str, ...], list[str]]]) -> str:
    """told: per rank its terms that were not finite, and the narrations of its batch."""
    parts = []
    some_term = any(terms for terms, _ in told)
    for rank, (terms, narrations) in enumerate(told):
        if some_term and not terms:
            continue
        shown = ", ".join(narrations[:_IDS_IN_ERROR])
        more = len(narrations) - _IDS_IN_ERROR
        rest = f" and {more} more" if more > 0 else ""
        parts.append(f"{', '.join(terms) or 'a gradient'} on rank {rank} ({shown}{rest})")
    return f"not finite in epoch {step.epoch + 1}, step {step.iteration + 1}: {'; '.join(parts)}"
