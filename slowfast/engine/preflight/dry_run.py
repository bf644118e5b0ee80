"""Dry run: reports what a run would do and cost, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast.datasets.build import VideoDataset, build_dataset
from slowfast.datasets.frames.missing import missing_collected
from slowfast.datasets.loading.loader import build_loader
from slowfast.datasets.loading.shared_ring import clip_datasets
from slowfast.engine.checkpoint import checkpoint_path, read_checkpoint, resumed_checkpoint
from slowfast.engine.checkpoints.compatible import check_resumable
from slowfast.engine.checkpoints.files import BEST
from slowfast.engine.checkpoints.same_data import check_data, data_digests
from slowfast.engine.checkpoints.start import read_initial, read_tested
from slowfast.engine.preflight.clip_checks import check_clips
from slowfast.engine.preflight.cost import StepCost, step_cost, synthetic_batch, view_cost
from slowfast.engine.preflight.device_checks import check_device
from slowfast.engine.preflight.findings import Findings
from slowfast.engine.processes.output_lock import lock_in
from slowfast.engine.solver import build_optimizer
from slowfast.engine.step.precision import set_precision
from slowfast.engine.step.update import Update, update_options
from slowfast.engine.tester import checkpoint_to_test, plan_test
from slowfast.models.registry import model_spec
from slowfast.tasks.build import build_training
from slowfast.tasks.terms.registry import unused_weights
from slowfast.utils.errors import UserError
from slowfast.utils.launcher import launcher_number
from slowfast.utils.paths import local_path

# A step on the CPU that takes more operations than this is not run.
_CPU_FLOPS = 3e11
# Reserve for memory that is not counted: workspaces, fragmentation, the framework itself.
_MARGIN = 1.25


@dataclass
class DryRun(Findings):
    """Report of a dry run. datasets: training data by split, as far as they could be built."""

    datasets: dict[str, VideoDataset] = field(default_factory=dict)


def dry_run(cfg: CfgNode) -> DryRun:
    """Build everything that the config asks for and run one step on synthetic data.

    All checks run in one process. The step is skipped if the device or its memory is missing, or if
    it would take too long. Nothing is written, except copies of inputs that are URLs.
    """
    report, processes = DryRun(), _processes(cfg)
    cfg = cfg.clone()
    cfg.defrost()
    # Neither workers nor their shared memory are needed.
    cfg.DATA_LOADER.NUM_WORKERS = 0
    cfg.freeze()
    device = _device(cfg)
    report.say("processes", f"{processes}" + (", looked at in this one" if processes > 1 else ""))
    if cfg.TRAIN.ENABLE:
        if unused := unused_weights(cfg):
            report.say("weights", unused)
        for split in ("train", "val"):
            report.look(split, lambda split=split: _split(report, cfg, split, processes))  # type: ignore[misc]
    if cfg.TEST.ENABLE:
        report.look("test", lambda: _test(report, cfg))
    report.look("device", lambda: _device_fits(report, cfg, device, processes))
    if cfg.TRAIN.ENABLE:
        report.look("step", lambda: _step(report, cfg, device, processes))
        report.look("start", lambda: _start(report, cfg))
    report.look("files", lambda: _files(report, cfg))
    return report


def _processes(cfg: CfgNode) -> int:
    launched = launcher_number("WORLD_SIZE", 0)
    return launched or max(cfg.NUM_GPUS, 1) * int(cfg.NUM_SHARDS)


def _device(cfg: CfgNode) -> torch.device | None:
    """The device of the run; None if this machine does not have it."""
    if cfg.NUM_GPUS == 0:
        return torch.device("cpu")
    return torch.device("cuda", 0) if torch.cuda.is_available() else None


def _split(report: DryRun, cfg: CfgNode, split: str, processes: int) -> None:
    with missing_collected() as missing:
        spec = model_spec(cfg)
        dataset = build_dataset(cfg.TRAIN.DATASET, cfg, split, spec.view, spec.heads(cfg))
    for videos in missing:
        report.wrong(split, f"no frames for {videos}: {videos.reason}")
    report.datasets[split] = dataset
    for clips in clip_datasets(dataset):
        check_clips(report, split, clips.segments, clips.frames, missing)
    loader = build_loader(cfg, dataset, split, 0, processes)
    steps = loader.sampler.batches_per_epoch
    loader.close()
    epochs = f", {steps * cfg.SOLVER.MAX_EPOCH} in all" if split == "train" else ""
    report.say(split, f"{len(dataset)} segments, {steps} steps an epoch{epochs}")


def _test(report: DryRun, cfg: CfgNode) -> None:
    cost = view_cost(cfg)
    report.say(
        "test",
        f"{_gflops(cost.flops)} per clip of {_size(cfg, cost.frames, cost.side)}, forward (a "
        f"multiply-add is 2); {cost.weights / 1e6:.2f} M parameters",
    )
    with missing_collected() as missing:
        plan = plan_test(cfg, _not_encoded)
    for videos in missing:
        report.wrong("test", f"no frames for {videos}: {videos.reason}")
    count = cfg.TEST.NUM_ENSEMBLE_VIEWS * cfg.TEST.NUM_SPATIAL_CROPS
    views = "all stored" if cfg.TRAIN.ON_FEATURES else count
    for view, dataset in plan.datasets.items():
        for clips in clip_datasets(dataset):
            check_clips(report, "test", clips.segments, clips.frames, missing)
        report.say("test", f"{len(dataset)} {view} segments of {views} views")


def _not_encoded(texts: Sequence[str], cfg: CfgNode) -> np.ndarray:
    """Placeholder for embeddings, as real ones would be written to SUML.CACHE_DIR."""
    return np.ones((len(texts), cfg.SUML.EMBED_DIM), np.float32)


def _device_fits(report: DryRun, cfg: CfgNode, device: torch.device | None, processes: int) -> None:
    if device is None:
        report.say("device", f"NUM_GPUS {cfg.NUM_GPUS}, but there is no CUDA device here")
        return
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    report.say("device", f"{name}, {_gib(_free(device))} free")
    check_device(cfg, device, processes)


def _step(report: DryRun, cfg: CfgNode, device: torch.device | None, processes: int) -> None:
    clips = cfg.TRAIN.BATCH_SIZE // processes
    if clips == 0:
        report.say(
            "step",
            f"not run: TRAIN.BATCH_SIZE {cfg.TRAIN.BATCH_SIZE} is less than one clip per process",
        )
        return
    cost = step_cost(cfg, clips)
    report.say(
        "model",
        f"{cfg.MODEL.MODEL_NAME}, {cost.weights / 1e6:.2f} M parameters, "
        f"{cost.trained / 1e6:.2f} M trained",
    )
    what = "pair" if model_spec(cfg).is_dual else "clip"
    size = _size(cfg, cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE)
    report.say(
        "training",
        f"{_gflops(cost.forward_flops)} per {what} of {size} forward, "
        f"{_gflops(cost.backward_flops)} backward (a multiply-add is 2)",
    )
    report.say(
        "memory",
        f"{_gib(cost.bytes)} for {clips} {what}s of each process, and workspaces: parameters "
        f"{_gib(cost.parameters)}, gradients {_gib(cost.gradients)}, optimizer "
        f"{_gib(cost.optimizer)}, activations {_gib(cost.activations)} ({cfg.TRAIN.PRECISION})",
    )
    obstacle = _obstacle(device, cost)
    if device is None or obstacle:
        report.say("step", f"not run, only simulated on fake tensors: {obstacle}")
    else:
        report.say("step", _made_step(cfg, device, clips))


def _obstacle(device: torch.device | None, cost: StepCost) -> str:
    """Reason why a step cannot be run here; empty if it can."""
    if device is None:
        return "its device is missing"
    needed, free = cost.bytes * _MARGIN, _free(device)
    if needed > free:
        return f"it may take {_gib(needed)} and {_gib(free)} are free"
    if device.type == "cpu" and cost.flops > _CPU_FLOPS:
        return f"{_gflops(cost.flops)} take long on a CPU"
    return ""


def _made_step(cfg: CfgNode, device: torch.device, clips: int) -> str:
    """Run one step on random frames or features; returns its result."""
    inputs = "features" if cfg.TRAIN.ON_FEATURES else "frames"
    eager = cfg.clone()
    eager.defrost()
    eager.MODEL.COMPILE = False
    torch.manual_seed(cfg.RNG_SEED)
    model, task = build_training(eager)
    model.to(device).train()
    optimizer = build_optimizer(model, eager)
    set_precision(model, cfg.TRAIN.PRECISION, device)
    update = Update(model, model, task, optimizer, update_options(eager))
    updated = update(synthetic_batch(eager, clips).to(device), 0, 0)
    losses = ", ".join(f"{name} {value:.3g}" for name, value in updated.output.losses.items())
    peak = ""
    if device.type == "cuda":
        peak = f"; {_gib(torch.cuda.max_memory_allocated(device))} at its peak"
    if not updated.finite:
        raise UserError(f"a step on random {inputs} gives values that are not finite: {losses}")
    return f"one step on random {inputs}: {losses}{peak}"


def _start(report: DryRun, cfg: CfgNode) -> None:
    if holder := lock_in(cfg.OUTPUT_DIR):
        report.say("start", f"refused while {holder}, trains into {cfg.OUTPUT_DIR}")
    resumed = resumed_checkpoint(cfg)
    if resumed is not None:
        checkpoint = read_checkpoint(resumed, key="TRAIN.CHECKPOINT_FILE_PATH")
        check_resumable(
            checkpoint.cfg_text,
            cfg,
            resumed,
            saved_processes=checkpoint.processes,
            processes=_processes(cfg),
        )
        if len(report.datasets) == 2:
            data = data_digests(report.datasets["train"], report.datasets["val"])
            check_data(checkpoint.extra, data, resumed, accepted=cfg.TRAIN.ACCEPT_CHANGED_DATA)
        done = checkpoint.epoch + 1
        rest = "" if done < cfg.SOLVER.MAX_EPOCH else ", nothing is left to train"
        report.say("start", f"resumes from {resumed}, {done} epoch{'s' * (done != 1)} done{rest}")
        return
    for section in ("TRAIN", "EXO"):
        weights = read_initial(cfg, section)
        if weights is not None:
            report.say("start", f"weights of {section}.CHECKPOINT_FILE_PATH {weights.source}")
    if not cfg.TRAIN.CHECKPOINT_FILE_PATH:
        report.say("start", "random weights (TRAIN.CHECKPOINT_FILE_PATH is empty)")


def _files(report: DryRun, cfg: CfgNode) -> None:
    if cfg.TRAIN.ENABLE:
        report.say("checkpoints", f"go to {checkpoint_path(cfg.OUTPUT_DIR, BEST).parent}")
    if not cfg.TEST.ENABLE:
        return
    if cfg.TRAIN.ENABLE and not cfg.TEST.CHECKPOINT_FILE_PATH:
        which = "best" if cfg.TEST.LOAD_BEST else "last"
        report.say("tested", f"the {which} checkpoint of this run")
        return
    path = checkpoint_to_test(cfg, None)
    section = "TEST" if cfg.TEST.CHECKPOINT_FILE_PATH else "TRAIN"
    # A missing TEST.CHECKPOINT_FILE_PATH is reported with the test.
    if local_path(path, f"{section}.CHECKPOINT_FILE_PATH").is_file() or section == "TRAIN":
        read_tested(path, cfg)
    report.say("tested", str(path))


def _free(device: torch.device) -> int:
    """Free memory of the device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(line for line in lines if line.startswith("MemAvailable:"))
    return int(available.split()[1]) * 1024


def _size(cfg: CfgNode, frames: int, side: int) -> str:
    return "stored features" if cfg.TRAIN.ON_FEATURES else f"{frames}x{side}x{side}"


def _gflops(count: float) -> str:
    """GFLOPs with one decimal place; below 1, with three significant digits."""
    return f"{count / 1e9:.1f} GFLOPs" if count >= 1e9 else f"{count / 1e9:.3g} GFLOPs"


def _gib(count: float) -> str:
    return f"{count / 2**30:.2f} GiB"
