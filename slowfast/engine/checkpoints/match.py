"""Matches the weights of a file with those of a model by name, and copies them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from torch import Tensor

from slowfast.engine.checkpoints.plain_tensors import is_finite
from slowfast.engine.checkpoints.report import LoadOptions, LoadReport, Shapes, counted, misfit
from slowfast.engine.checkpoints.weights import Weights
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass
class Match:
    """The load report, and the pairs (weight of the model, value) to copy."""

    report: LoadReport
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def copy(self) -> LoadReport:
        """Copy the values into the model; logs and returns the report."""
        for target, value in self.pairs:
            target.copy_(value)
        logger.info("%s", self.report.summary())
        return self.report


def match_weights(file: Weights, model: Weights, options: LoadOptions) -> Match:
    """Pair the weights of a file with some or all of a model's; nothing is copied yet.

    Raises: UserError if the file does not have what `options` requires, or has values that are
        not finite.
    """
    if options.head and model.ego.heads:
        asked = f"{options.section}.CHECKPOINT_HEAD {options.head}"
        file = file.with_head(options.head, model.ego.heads[0], asked)
    match = _match(file, model, options.inflate)
    fault = misfit(match.report, file, model, options)
    if fault:
        raise UserError(f"{file.source} does not fit the model: {fault}")
    _check_values(match)
    return match


def _check_values(match: Match) -> None:
    """Refuse values that a run would only notice much later."""
    bad = []
    for name, (target, value) in zip(match.report.loaded, match.pairs, strict=True):
        if not target.is_floating_point():
            continue
        if not value.is_floating_point():
            raise UserError(
                f"{match.report.source}: weight {name} is of type {value.dtype}, the model's of "
                f"{target.dtype}; save it as floating-point numbers"
            )
        if not is_finite(value, target.dtype):
            bad.append(name)
    if bad:
        raise UserError(
            f"{match.report.source}: {counted(bad)} of its weights have NaN or infinite values; "
            "use another checkpoint"
        )


def inflate_weight(weight: Tensor, frames: int) -> Tensor:
    """A 2-D convolution (O, I, H, W) as a 3-D one (O, I, frames, H, W): repeated over time and
    divided by its length, so that a still clip gives the same features."""
    return weight.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames


def _match(file: Weights, model: Weights, inflate: bool) -> Match:
    match = Match(LoadReport(file.source, unwrapped=file.unwrapped))
    report = match.report
    for name, target in model.tensors.items():
        value = file.tensors.get(name)
        if value is None:
            # Counts batches since the start; older torch and other frameworks have none.
            if not name.endswith("num_batches_tracked"):
                report.missing.append(name)
            continue
        if inflate and value.ndim == 4 and target.ndim == 5:
            value = inflate_weight(value, target.shape[2])
        if value.shape != target.shape:
            report.mismatched[name] = Shapes(tuple(value.shape), tuple(target.shape))
            continue
        match.pairs.append((target, value))
        report.loaded.append(name)
    report.unexpected = [name for name in file.tensors if name not in model.tensors]
    return match
