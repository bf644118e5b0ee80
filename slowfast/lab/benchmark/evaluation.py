"""Scores of test views: a plain fp32 forward pass, and ours."""

from __future__ import annotations

from functools import partial

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast.config.derived import alpha_of
from slowfast.engine.preflight.cost import view_cost
from slowfast.engine.step.precision import set_precision
from slowfast.engine.testing.view_scoring import ready_for_test
from slowfast.lab.benchmark.report import Check, Report
from slowfast.lab.benchmark.timing import one_thread
from slowfast.lab.benchmark.workload import (
    PLAIN,
    Load,
    Variant,
    has_bf16,
    time_variants,
    variants,
)
from slowfast.models.build import build_test_model

# Largest difference of a probability to the plain pass.
SCORE_LIMIT = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 2e-2, "fp16": 5e-3}


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
    """Time per forward pass of `views` views of DATA.TEST_CROP_SIZE, alternately."""
    chosen = chosen or variants(device, has_bf16(device))
    size = cfg.DATA.TEST_CROP_SIZE
    draw = torch.Generator().manual_seed(0)
    fast = torch.randn(views, 3, cfg.DATA.NUM_FRAMES, size, size, generator=draw).to(device)
    clip = [fast[:, :, :: alpha_of(cfg, "ego")].contiguous(), fast]
    report = Report("eval")
    with one_thread():
        scorers = {v.name: partial(_Scorer(v, cfg, device), clip) for v in chosen}
        scores = {name: score() for name, score in scorers.items()}
        for v in chosen:
            distance = _distance(scores[v.name], scores[PLAIN])
            limit = SCORE_LIMIT[v.precision]
            report.checks.append(Check(f"probabilities, {v.name}", distance, limit, ""))
        load = Load("views", views, view_cost(Variant(PLAIN).cfg(cfg)).flops / 1e9 * views)
        report.remarks.append(
            f"R{cfg.RESNET.DEPTH}, {cfg.DATA.NUM_FRAMES} x {size} pixels, {views} views in a pass, "
            f"{device.type}, {load.gflop / views:.1f} GFLOP per view"
        )
        title = ("test views", "time per forward pass")
        time_variants(report, title, scorers, chosen, load, rounds, device)
    return report


def _distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
