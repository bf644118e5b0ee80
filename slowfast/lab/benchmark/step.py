"""Training steps: the plain fp32 step in the published order of work, and ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.monitor.meters import StepClock
from slowfast.engine.preflight.cost import KeptForBackward, step_cost, synthetic_batch
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.batches import DeviceCopies
from slowfast.engine.step.precision import set_precision
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import count_waits, interleaved, one_thread
from slowfast.lab.benchmark.workload import (
    PLAIN,
    Load,
    Variant,
    built_update,
    clock_of,
    fastest_eager,
    has_bf16,
    synchronised,
    time_variants,
    variants,
)

# Relative difference of the first loss to the plain step's. fp32: sums in another order. Half
# formats: 3 digits per layer, which batch norm takes out again.
_LOSS_LIMIT = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2}


class _Trainer:
    """One model, its optimizer and its steps over one synthetic batch."""

    def __init__(self, variant: Variant, cfg: CfgNode, batch: Any, device: torch.device) -> None:
        self.cfg = variant.cfg(cfg)
        self._variant = variant
        self._device = device
        self._batch = batch.to(device)
        self.update = built_update(variant, self.cfg, device)
        self._iteration = 0
        self.first_loss: torch.Tensor | None = None

    def step(self) -> None:
        set_precision(self.update.model, self._variant.precision, self._device)
        plain = self._variant.name == PLAIN
        loss = self._published() if plain else self._ours()
        self._iteration += 1
        if self.first_loss is None:
            self.first_loss = loss.detach()

    def _ours(self) -> torch.Tensor:
        return self.update(self._batch, 0, self._iteration).output.total

    def _published(self) -> torch.Tensor:
        """The host reads every loss as soon as it is computed."""
        update = self.update
        output = update.task.step(update.model, self._batch, 0, self._iteration)
        for loss in output.losses.values():
            loss.item()
        update.optimizer.zero_grad()
        output.total.backward()
        update.optimizer.step()
        output.total.item()
        return output.total

    def forward(self) -> object:
        set_precision(self.update.model, self._variant.precision, self._device)
        return self.update.task.forward(self.update.model, self._batch)


def step_benchmark(
    cfg: CfgNode,
    clips: int,
    device: torch.device,
    rounds: int,
    loader: Iterable[Any] | None = None,
    chosen: list[Variant] | None = None,
) -> Report:
    """Time per step of `clips` clips (or pairs), alternating with a large matrix product.

    loader: real batches, for the share of a step that waits for data; then the plain and the
    fastest eager variant are compared, unless `chosen` names others.
    """
    if chosen is None and loader is not None:
        chosen = [Variant(PLAIN), fastest_eager(device)]
    chosen = chosen or variants(device, has_bf16(device))
    report = Report("step")
    batch = synthetic_batch(cfg, clips)
    with one_thread():
        trainers = {v.name: _Trainer(v, cfg, batch, device) for v in chosen}
        for trainer in trainers.values():
            trainer.step()
        # Losses of a later step differ by what the first updates amplified.
        report.checks = _checks(trainers, chosen)
        size = cfg.DATA.TRAIN_CROP_SIZE
        one_clip = step_cost(Variant(PLAIN).cfg(cfg), 1)
        load = Load("clips", clips, one_clip.flops / 1e9 * clips)
        report.remarks.append(
            f"{cfg.MODEL.MODEL_NAME} R{cfg.RESNET.DEPTH}, {cfg.DATA.NUM_FRAMES} x {size} pixels, "
            f"batch {clips}, {device.type}, {load.gflop / clips:.1f} GFLOP per clip and step"
        )
        steps = {name: trainer.step for name, trainer in trainers.items()}
        title = ("training step", "time per step")
        time_variants(report, title, steps, chosen, load, rounds, device)
        report.tables.append(_optimizers(trainers[PLAIN], device, rounds))
        for name, trainer in trainers.items():
            waits = sum(count_waits(trainer.step, device).values())
            kept = KeptForBackward(trainer.update.model.parameters())
            with kept.counting():
                trainer.forward()
            report.figures[name]["waits of the host per step"] = float(waits)
            report.figures[name]["activations kept, GiB"] = kept.bytes / 2**30
    if loader is not None:
        last = chosen[-1].name
        report.figures[last]["data wait, share"] = _data_wait(trainers[last], loader, device)
    return report


def _checks(trainers: dict[str, _Trainer], chosen: list[Variant]) -> list[Check]:
    expected = trainers[PLAIN].first_loss
    assert expected is not None
    checks = []
    for variant in chosen:
        loss = trainers[variant.name].first_loss
        assert loss is not None
        difference = float((loss - expected).abs() / expected.abs())
        limit = _LOSS_LIMIT[variant.precision]
        checks.append(Check(f"first loss, {variant.name}", difference, limit, "relative"))
    return checks


def _optimizers(trainer: _Trainer, device: torch.device, rounds: int) -> Table:
    """The optimizer's update alone, over the same weights and gradients."""
    model, parts = trainer.update.model, {}
    kinds = {"for-loop": False, "multi-tensor": None, "fused": True}
    for name, fused in kinds.items():
        cfg = trainer.cfg.clone()
        cfg.SOLVER.FUSED = "always" if fused else "never"
        optimizer = build_optimizer(model, cfg)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
            group["foreach"] = fused is None
        parts[name] = synchronised(optimizer.step, device)
    times = interleaved(parts, max(rounds, 5), clock_of(device))
    title = f"optimizer ({trainer.cfg.SOLVER.OPTIMIZING_METHOD})"
    return Table(title, "time per update", times, "for-loop")


def _data_wait(trainer: _Trainer, loader: Iterable[Any], device: torch.device) -> float:
    """Share of the time of an epoch's steps spent waiting for batches; the first is left out."""
    to_device, clock = DeviceCopies(device), StepClock()
    for iteration, batch in enumerate(loader):
        clock.data_arrived()
        trainer.update(to_device(batch), 0, iteration)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        clock.step_done()
        if iteration == 0:
            clock.restart()
    return clock.data_wait_share
