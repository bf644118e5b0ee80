"""Training steps: the plain fp32 step in the published order of work, and ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.engine.monitor.meters import StepClock
from slowfast.engine.preflight.cost import synthetic_batch
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.transfer import DeviceCopies
from slowfast.engine.step.update import Update, update_options
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import interleaved, one_thread
from slowfast.lab.benchmark.waits import count_waits
from slowfast.lab.benchmark.workload import (
    PLAIN,
    Variant,
    clock_of,
    gflop,
    has_bf16,
    kept_activations_gib,
    matrix_product,
    peak_memory_gib,
    synchronised,
    variants,
)
from slowfast.tasks.build import build_training

# Relative difference of the first loss to the plain step's. fp32: sums in another order. Half
# formats: 3 digits per layer, which batch norm takes out again.
_LOSS_LIMIT = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2}


class _Trainer:
    """One model, its optimizer and its steps over one made batch."""

    def __init__(self, variant: Variant, cfg: CfgNode, batch: Any, device: torch.device) -> None:
        self.cfg = variant.cfg(cfg)
        torch.manual_seed(0)
        model, task = build_training(self.cfg)
        model.to(device).train()
        optimizer = build_optimizer(model, self.cfg)
        self._variant = variant
        self._device = device
        self._batch = batch.to(device)
        self.update = Update(model, model, task, optimizer, update_options(self.cfg))
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
        """Every loss is read by the host as soon as it is there."""
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
    """Time per step of `clips` clips (or pairs), in turns, beside a large matrix product.

    loader: real batches, for the share of a step that waits for data.
    """
    chosen = chosen or variants(device, has_bf16(device))
    report = Report("step")
    batch = synthetic_batch(cfg, clips)
    with one_thread():
        trainers = {v.name: _Trainer(v, cfg, batch, device) for v in chosen}
        parts: dict[str, Callable[[], object]] = {
            name: synchronised(trainer.step, device) for name, trainer in trainers.items()
        }
        for trainer in trainers.values():
            trainer.step()
        # Losses of a later step differ by what the first updates amplified.
        report.checks = _checks(trainers, chosen)
        products = {p: matrix_product(device, p) for p in {v.precision for v in chosen}}
        timed = {**parts, **{_product_name(p): work for p, (work, _) in products.items()}}
        seconds = interleaved(timed, rounds, clock_of(device))
        table = {name: value * 1e3 for name, value in seconds.items() if name in parts}
        report.tables.append(Table("training step", "time per step", table, PLAIN))
        report.tables.append(_optimizers(trainers[PLAIN], device, rounds))
        work = gflop(cfg, cfg.DATA.TRAIN_CROP_SIZE, training=True) * clips
        for variant in chosen:
            name, precision = variant.name, variant.precision
            rate = products[precision][1] / seconds[_product_name(precision)]
            report.figures[name] = {
                "clips/s": clips / seconds[name],
                "GFLOP/s": work / seconds[name],
                "matrix product, GFLOP/s": rate,
                "share of the matrix product's rate": work / seconds[name] / rate,
                **_costs(trainers[name], device),
            }
    if loader is not None:
        last = trainers[chosen[-1].name]
        report.figures[chosen[-1].name]["data wait, share"] = _data_wait(last, loader, device)
    report.remarks.append(
        f"{cfg.MODEL.MODEL_NAME} R{cfg.RESNET.DEPTH}, {cfg.DATA.NUM_FRAMES} x "
        f"{cfg.DATA.TRAIN_CROP_SIZE} pixels, batch {clips}, {device.type}, "
        f"{work / clips:.1f} GFLOP per clip and step"
    )
    if not has_bf16(device):
        report.remarks.append("bf16 is left out: this processor has no arithmetic for it")
    return report


def _product_name(precision: str) -> str:
    return f"matrix product, {precision}"


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


def _costs(trainer: _Trainer, device: torch.device) -> dict[str, float]:
    found = {
        "waits of the host per step": float(sum(count_waits(trainer.step, device).values())),
        "activations kept, GiB": kept_activations_gib(trainer.update.model, trainer.forward),
    }
    peak = peak_memory_gib(trainer.step, device)
    if peak is not None:
        found["peak memory, all variants' weights included, GiB"] = peak
    return found


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
    seconds = interleaved(parts, max(rounds, 5), clock_of(device))
    milliseconds = {name: value * 1e3 for name, value in seconds.items()}
    return Table(
        f"optimizer ({trainer.cfg.SOLVER.OPTIMIZING_METHOD})",
        "time per update",
        milliseconds,
        "for-loop",
    )


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
