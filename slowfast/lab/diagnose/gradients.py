"""Share of each term of the objective in the gradient at the ego backbone.

Legend: P numbers in the parameters of the ego backbone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from numpy.typing import NDArray
from torch import Tensor

from slowfast.config.heads import ego_heads
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.engine.checkpoint import load_test_weights
from slowfast.models.ego_exo import EgoExoModel
from slowfast.tasks.base import StepOutput
from slowfast.tasks.build import build_training

# The ego classification losses of all heads together.
CLASSIFICATION = "classification"


class TermGradient(NamedTuple):
    """Gradient of one weighted term, averaged over batches.

    norm: L2 norm. share: of the sum of the norms of all terms, 0..1. cosine: with the gradient of
        the classification; NaN for a term without a gradient.
    """

    norm: float
    share: float
    cosine: float


def term_gradients(
    cfg: CfgNode, checkpoint: Path, loader: BatchLoader, batches: int, device: torch.device
) -> dict[str, TermGradient]:
    """Gradients of a checkpoint on the first batches of the first epoch, in training mode.

    The batches and the dropout depend on RNG_SEED alone, so that all checkpoints of a run see the
    same ones. The queue of SUML.QUEUE is empty.

    Raises: UserError for a checkpoint that does not fit.
    """
    model, task = build_training(cfg)
    assert isinstance(model, EgoExoModel)
    load_test_weights(model, checkpoint, cfg)
    model.to(device).train()
    parameters = [p for p in model.ego.backbone.parameters() if p.requires_grad]

    def batch_gradients() -> Iterator[dict[str, NDArray[np.float64]]]:
        for number in range(min(batches, loader.sampler.batches_per_epoch)):
            batch = loader.rebuild(0, number).to(device)
            output = task.step(model, batch, 0, number)
            yield separate_gradients(weighted_terms_of(output, cfg), parameters)

    # Batch by batch: together, the gradients of a published backbone fill gigabytes.
    return compare_gradients(batch_gradients())


def weighted_terms_of(output: StepOutput, cfg: CfgNode) -> dict[str, Tensor]:
    """The losses of a step times their weights; those of the ego heads as one."""
    weighted = {name: loss * output.weights.get(name, 1) for name, loss in output.losses.items()}
    classification = [weighted.pop(f"ego_{head.name}") for head in ego_heads(cfg)]
    return {CLASSIFICATION: torch.stack(classification).sum(), **weighted}


def separate_gradients(
    terms: Mapping[str, Tensor], parameters: Sequence[Tensor]
) -> dict[str, NDArray[np.float64]]:
    """The gradient (P,) of each scalar alone; zeros where it does not depend on a parameter."""
    gradients = {}
    for name, term in terms.items():
        parts: Sequence[Tensor | None] = [None] * len(parameters)
        if term.requires_grad:
            parts = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        filled = [
            torch.zeros_like(parameter) if part is None else part
            for part, parameter in zip(parts, parameters, strict=True)
        ]
        gradients[name] = torch.cat([part.flatten().double().cpu() for part in filled]).numpy()
    return gradients


def compare_gradients(
    batches: Iterable[Mapping[str, NDArray[np.float64]]],
) -> dict[str, TermGradient]:
    """Means over the batches; each has the gradient (P,) of every term, CLASSIFICATION among them.

    A share is that of the mean norm among the mean norms.
    """
    norms: defaultdict[str, list[float]] = defaultdict(list)
    cosines: defaultdict[str, list[float]] = defaultdict(list)
    for gradients in batches:
        for name, gradient in gradients.items():
            norms[name].append(float(np.linalg.norm(gradient)))
            cosines[name].append(_cosine(gradient, gradients[CLASSIFICATION]))
    means = {name: float(np.mean(values)) for name, values in norms.items()}
    total = max(sum(means.values()), np.finfo(float).tiny)
    return {
        name: TermGradient(norm, norm / total, float(np.mean(cosines[name])))
        for name, norm in means.items()
    }


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    length = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / length) if length > 0 else float("nan")
