"""A short training and a test with each speed option, against plain fp32 on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.datasets.build import build_dataset
from slowfast.datasets.loading.loader import build_loader
from slowfast.engine.solver import lr_at_epoch, set_lr
from slowfast.engine.testing.view_scoring import ready_for_test
from slowfast.lab.benchmark.evaluation import SCORE_LIMIT
from slowfast.lab.benchmark.report import Check, Report
from slowfast.lab.benchmark.workload import PLAIN, Variant, built_update, has_bf16
from slowfast.tasks.build import build_training

_STEPS = 6
# Largest relative difference of a step's loss. Sums in another order differ by 1e-6, which the
# updates in between amplify; half formats have 8 and 11 bits. Measured on a CPU: 8e-6, bf16 2e-3.
_LOSS_LIMIT = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
_COMPILED = {"MODEL.COMPILE": True}


def speed_options(device: torch.device, compiled: bool = False) -> list[Variant]:
    """Plain fp32, then each option alone. compiled: the options that need a compiler instead."""
    if compiled:
        graphs = {**_COMPILED, "MODEL.COMPILE_MODE": "reduce-overhead"}
        return [
            Variant(PLAIN),
            Variant("compiled", settings=_COMPILED),
            Variant("compiled, CUDA graphs", settings=graphs),
        ]
    halves = ["tf32", "fp16"] if device.type == "cuda" else []
    if has_bf16(device):
        halves.append("bf16")
    return [
        Variant(PLAIN),
        Variant("channels last", settings={"MODEL.CHANNELS_LAST": True}),
        Variant("2-D convolutions", settings={"MODEL.CONV_2D": True}),
        Variant("fused optimizer", settings={"SOLVER.FUSED": "always"}),
        Variant("recomputed stages", settings={"MODEL.RECOMPUTE_STAGES": ["s2", "s4"]}),
        Variant("folded batch norms", settings={"TEST.FOLD_BN": True}),
        *(Variant(precision, precision) for precision in halves),
    ]


class _Trained(NamedTuple):
    """losses: of the steps. state: of the model after them."""

    losses: list[float]
    state: dict[str, Tensor]


def options_benchmark(cfg: CfgNode, device: torch.device, chosen: Sequence[Variant]) -> Report:
    """Losses of the first steps, and probabilities of the weights that plain fp32 ends with.

    cfg: of a dual model. chosen: plain fp32 first.
    """
    batches = list(_batches(cfg))
    report, plain = Report("options"), _train(chosen[0], cfg, batches, device)
    expected = _test(chosen[0], cfg, plain.state, batches[0], device)
    for variant in chosen[1:]:
        losses = _train(variant, cfg, batches, device).losses
        scores = _test(variant, cfg, plain.state, batches[0], device)
        pairs = zip(losses, plain.losses, strict=True)
        loss = max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)
        score = max(float((a - b).abs().max()) for a, b in zip(scores, expected, strict=True))
        report.checks += [
            Check(f"losses, {variant.name}", loss, _LOSS_LIMIT[variant.precision], "relative"),
            Check(f"probabilities, {variant.name}", score, SCORE_LIMIT[variant.precision], ""),
        ]
    report.remarks.append(f"{len(batches)} steps from a loss of {plain.losses[0]:.3f}")
    return report


def _batches(cfg: CfgNode) -> Iterator[Any]:
    """Of the first epoch, copied out of the memory that the loader uses again."""
    loader = build_loader(cfg, build_dataset(cfg.TRAIN.DATASET, cfg, "train"), "train")
    try:
        for batch in islice(loader, _STEPS):
            clips = [part.map(torch.clone) for part in batch.clips()]
            yield type(batch)(*clips)
    finally:
        loader.close()


def _train(
    variant: Variant, cfg: CfgNode, batches: Sequence[Any], device: torch.device
) -> _Trained:
    cfg = variant.cfg(cfg)
    update = built_update(variant, cfg, device)
    if update.loss_scale:
        # Where it would settle: an overflow skips a step, and later losses are of other weights.
        update.loss_scale.value.fill_(2.0**6)
    losses = []
    for number, batch in enumerate(batches):
        set_lr(update.optimizer, lr_at_epoch(cfg, number / len(batches)))
        losses.append(update(batch.to(device), 0, number).output.total.detach())
    return _Trained(torch.stack(losses).tolist(), update.model.state_dict())


@torch.no_grad()
def _test(
    variant: Variant,
    cfg: CfgNode,
    state: dict[str, Tensor],
    batch: Any,
    device: torch.device,
) -> list[Tensor]:
    """Probabilities of the ego clips of a batch, one (N, K) tensor per head."""
    cfg = variant.cfg(cfg)
    model, task = build_training(cfg)
    model.load_state_dict(state)
    return task.evaluate(ready_for_test(model, cfg, device), batch.ego.to(device))
