"""The same work in several variants of a config, and their times."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.engine.preflight.cost import step_cost
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.lab.benchmark.report import Report, Table
from slowfast.lab.benchmark.timing import Clock, interleaved
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training

Work = Callable[[], object]
PLAIN = "plain fp32"
_SIDE = {"cpu": 1024, "cuda": 8192}
# Of a GPU's free memory; the rest is for workspaces of single layers and fragments.
_MEMORY_SHARE = 0.66


@dataclass(frozen=True)
class Variant:
    """One configuration to measure. settings: keys that differ from the baseline."""

    name: str
    precision: str = "fp32"
    settings: dict[str, Any] = field(default_factory=dict)

    def cfg(self, cfg: CfgNode) -> CfgNode:
        """`cfg` with this variant's precision and settings, and else computed plainly."""
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.CHANNELS_LAST = cfg.MODEL.CONV_2D = cfg.MODEL.COMPILE = False
        cfg.MODEL.SPEED_OPTIONS = "as_set"
        cfg.TEST.FOLD_BN = False
        cfg.SOLVER.FUSED = "never"
        cfg.TRAIN.PRECISION = cfg.TEST.PRECISION = self.precision
        cfg.merge_from_list([entry for item in self.settings.items() for entry in item])
        return cfg


# Each step of these lists adds one option to the ones before it. Folded norms are for tests.
_LAST = {"MODEL.CHANNELS_LAST": True}
_LAST_2D = {**_LAST, "MODEL.CONV_2D": True}
_FUSED = {"SOLVER.FUSED": "always", "TEST.FOLD_BN": True}


def variants(device: torch.device, has_bf16: bool) -> list[Variant]:
    """The plain variant and ours, without a compiler. has_bf16: the device has bf16 arithmetic."""
    if device.type == "cuda":
        found = [Variant(PLAIN), Variant("tf32", "tf32")]
        if has_bf16:
            found += [
                Variant("bf16", "bf16"),
                Variant("bf16, channels last", "bf16", _LAST),
                Variant("bf16, channels last, 2-D", "bf16", _LAST_2D),
                Variant("bf16, channels last, 2-D, fused", "bf16", {**_LAST_2D, **_FUSED}),
            ]
        return found
    found = [
        Variant(PLAIN),
        Variant("fp32, channels last", "fp32", {**_LAST, **_FUSED}),
        Variant("fp32, channels last, 2-D", "fp32", {**_LAST_2D, **_FUSED}),
    ]
    if has_bf16:
        found += [
            Variant("bf16, channels last", "bf16", {**_LAST, **_FUSED}),
            Variant("bf16, channels last, 2-D", "bf16", {**_LAST_2D, **_FUSED}),
        ]
    return found


def fastest_eager(device: torch.device) -> Variant:
    return variants(device, has_bf16(device))[-1]


def compiled_variants(device: torch.device) -> list[Variant]:
    """Plain fp32, the fastest without a compiler, and that one compiled (minutes each)."""
    fastest = fastest_eager(device)
    compiled = {**fastest.settings, "MODEL.COMPILE": True}
    graphs = {**compiled, "MODEL.COMPILE_MODE": "reduce-overhead"}
    return [
        Variant(PLAIN),
        fastest,
        replace(fastest, name=f"{fastest.name}, compiled", settings=compiled),
        replace(fastest, name=f"{fastest.name}, compiled, CUDA graphs", settings=graphs),
    ]


def built_update(variant: Variant, cfg: CfgNode, device: torch.device) -> Update:
    """The training step of `variant.cfg(...)`, with weights of seed 0."""
    torch.manual_seed(0)
    model, task = build_training(cfg)
    model.to(device).train()
    set_precision(model, variant.precision, device)
    return Update(model, model, task, build_optimizer(model, cfg), update_options(cfg))


@dataclass(frozen=True)
class Load:
    """Work of one call of a variant: `count` clips or views, `gflop` in all."""

    unit: str
    count: int
    gflop: float


def time_variants(
    report: Report,
    title: tuple[str, str],
    works: Mapping[str, Work],
    chosen: Sequence[Variant],
    load: Load,
    rounds: int,
    device: torch.device,
) -> None:
    """Time the work of each variant, alternating with large matrix products in the same precision.

    Adds a table called `title` (what, unit) and each variant's figures to the report.
    """
    works = {name: synchronised(work, device) for name, work in works.items()}
    products = {v.precision: matrix_product(device, v.precision) for v in chosen}
    timed = {**works, **{f"matrix product, {p}": work for p, (work, _) in products.items()}}
    times = interleaved(timed, rounds, clock_of(device))
    report.tables.append(Table(*title, {name: times[name] for name in works}, PLAIN))
    for v in chosen:
        seconds = times[v.name] / 1e3
        product = products[v.precision][1] / times[f"matrix product, {v.precision}"] * 1e3
        report.figures[v.name] = {
            f"{load.unit}/s": load.count / seconds,
            "GFLOP/s": load.gflop / seconds,
            "matrix product, GFLOP/s": product,
            "share of the matrix product's rate": load.gflop / seconds / product,
        }
        if device.type == "cuda":
            peak = _peak_memory_gib(works[v.name], device)
            report.figures[v.name]["peak memory, all variants' weights included, GiB"] = peak
    if not has_bf16(device):
        report.remarks.append("bf16 is left out: this processor has no arithmetic for it")


def has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def made_cfg(device: torch.device) -> CfgNode:
    """The default config.

    On a GPU the dual R101 of the paper at 256 pixels, on a CPU one R50 at 112 pixels."""
    cfg = get_cfg()
    size = 112
    if device.type == "cuda":
        cfg.MODEL.MODEL_NAME = "EgoExoSlowFast"
        cfg.SUML.ENABLE = True
        cfg.RESNET.DEPTH, size = 101, 256
        cfg.RESNET.NUM_BLOCK_TEMP_KERNEL = [[3, 3], [4, 4], [23, 23], [3, 3]]
    cfg.DATA.TRAIN_CROP_SIZE = cfg.DATA.TEST_CROP_SIZE = size
    return cfg


def fitting_clips(cfg: CfgNode, device: torch.device) -> int:
    """Clips (pairs) of a step that every variant has memory for on a GPU: a power of two.

    The plain fp32 step needs the most, in addition to the weights of all variants.
    """
    one = step_cost(Variant(PLAIN).cfg(cfg), 1)
    models = len(variants(device, has_bf16(device)))
    free = torch.cuda.mem_get_info(device)[0]
    room = _MEMORY_SHARE * free - models * (one.parameters + one.gradients + one.optimizer)
    clips = 1
    while 2 * clips * one.activations <= room:
        clips *= 2
    return clips


def is_dual(cfg: CfgNode) -> bool:
    return model_spec(cfg).is_dual


def matrix_product(device: torch.device, precision: str) -> tuple[Work, float]:
    """A large square product in the number format, to be timed, and its GFLOP."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    side = _SIDE[device.type]
    a = torch.randn(side, side, device=device).to(dtype)

    def product() -> None:
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.mm(a, a)

    return synchronised(product, device), 2 * side**3 / 1e9


def synchronised(work: Work, device: torch.device) -> Work:
    """`work`; on CUDA including the wait for its end."""
    if device.type != "cuda":
        return work

    def run() -> None:
        work()
        torch.cuda.synchronize(device)

    return run


def clock_of(device: torch.device) -> Clock:
    """The clock for a device: processor time on a CPU, which is shared; wall time on a GPU."""
    return time.perf_counter if device.type == "cuda" else time.thread_time


def _peak_memory_gib(work: Work, device: torch.device) -> float:
    """Peak memory of the GPU during `work`."""
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) / 2**30
