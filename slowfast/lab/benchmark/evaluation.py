"""Scores of test views: the plain fp32 forward pass, and ours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.engine.step.precision import set_precision
from slowfast.engine.testing.view_scoring import ready_for_test
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import interleaved, one_thread
from slowfast.lab.benchmark.workload import (
    PLAIN,
    Variant,
    clock_of,
    gflop,
    has_bf16,
    matrix_product,
    peak_memory_gib,
    synchronised,
    variants,
)
from slowfast.models.build import build_test_model

# Largest difference of a probability to the plain pass.
_SCORE_LIMIT = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 2e-2, "fp16": 5e-3}


class _Scorer:
    def __init__(self, variant: Variant, cfg: CfgNode, device: torch.device) -> None:
        cfg = variant.cfg(cfg)
        torch.manual_seed(0)
        self._model = ready_for_test(build_test_model(cfg), cfg, device)
        self._precision, self._device = variant.precision, device

    @torch.no_grad()
    def __call__(self, clip: list[Tensor]) -> list[Tensor]:
        set_precision(self._model, self._precision, self._device)
        scores: list[Tensor] = self._model(clip)
        return scores


def evaluation_benchmark(
    cfg: CfgNode,
    views: int,
    device: torch.device,
    rounds: int,
    chosen: list[Variant] | None = None,
) -> Report:
    """Time per forward pass of `views` views of DATA.TEST_CROP_SIZE, in turns."""
    chosen = chosen or variants(device, has_bf16(device))
    size = cfg.DATA.TEST_CROP_SIZE
    draw = torch.Generator().manual_seed(0)
    fast = torch.randn(views, 3, cfg.DATA.NUM_FRAMES, size, size, generator=draw).to(device)
    clip = [fast[:, :, :: cfg.SLOWFAST.ALPHA].contiguous(), fast]
    report = Report("eval")
    with one_thread():
        scorers = {variant.name: _Scorer(variant, cfg, device) for variant in chosen}

        def part(name: str) -> Callable[[], object]:
            return synchronised(lambda: scorers[name](clip), device)

        scores = {name: scorer(clip) for name, scorer in scorers.items()}
        report.checks = [
            Check(
                f"probabilities, {v.name}",
                _distance(scores[v.name], scores[PLAIN]),
                _SCORE_LIMIT[v.precision],
                "",
            )
            for v in chosen
        ]
        products = {p: matrix_product(device, p) for p in {v.precision for v in chosen}}
        timed = {name: part(name) for name in scorers}
        timed.update({f"matrix product, {p}": work for p, (work, _) in products.items()})
        seconds = interleaved(timed, rounds, clock_of(device))
        table = {name: seconds[name] * 1e3 for name in scorers}
        report.tables.append(Table("test views", "time per forward pass", table, PLAIN))
        work = gflop(cfg, size, training=False) * views
        for v in chosen:
            rate = products[v.precision][1] / seconds[f"matrix product, {v.precision}"]
            report.figures[v.name] = {
                "views/s": views / seconds[v.name],
                "GFLOP/s": work / seconds[v.name],
                "matrix product, GFLOP/s": rate,
                "share of the matrix product's rate": work / seconds[v.name] / rate,
            }
            peak = peak_memory_gib(part(v.name), device)
            if peak is not None:
                report.figures[v.name]["peak memory, all variants' weights included, GiB"] = peak
    report.remarks.append(
        f"R{cfg.RESNET.DEPTH}, {cfg.DATA.NUM_FRAMES} x {size} pixels, {views} views in a pass, "
        f"{device.type}, {work / views:.1f} GFLOP per view"
    )
    if not has_bf16(device):
        report.remarks.append("bf16 is left out: this processor has no arithmetic for it")
    return report


def _distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
