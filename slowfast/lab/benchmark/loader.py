"""Training clips: the published steps, ours, pure decoding; and the bottleneck of training."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.clips.transforms import Placement, place_float
from slowfast.datasets.frames.image_files import make_decoder, read_jpeg
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.loading.shared_ring import SharedRing
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import ClipBatch, SampleKey
from slowfast.lab.benchmark import baseline
from slowfast.lab.benchmark.baseline import BASELINE, grey_levels
from slowfast.lab.benchmark.frames import DEVICE, WORKER, Video, decode_files
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import (
    core_count,
    family_time,
    interleaved,
    interleaved_by,
    one_thread,
)
from slowfast.lab.benchmark.workload import clock_of, synchronised

_BATCH_CLIPS = 4
_WORKERS = 2
LIMIT = "limit: decode alone"
RING, PLAIN = "ours, shared ring", "ours, fresh shared memory"


def loader_benchmark(video: Video, rounds: int, model_clips_per_sec: float | None) -> Report:
    """Cost of a training clip on one core and through two workers, and the bottleneck of a machine.

    model_clips_per_sec: training clips that one GPU's model takes; None: not known.
    """
    clips = _Clips(video)
    report = Report("loader", checks=clips.checks())
    with one_thread():
        one_core, device = _one_core(clips, rounds), _device_step(clips, rounds)
    report.tables += [one_core, device]
    if core_count() >= _WORKERS:
        report.tables += _through_workers(clips, rounds)
    costs = _costs(one_core.milliseconds, device.milliseconds, model_clips_per_sec)
    report.remarks = advice(costs, core_count())
    return report


class _Clips:
    """The same training clips, loaded by every variant."""

    def __init__(self, video: Video) -> None:
        self.video = video
        self.ours = video.datasets("train")
        self.count = len(video.segments)
        self._sizes = [video.frame_size(index) for index in range(self.count)]

    def published(self, epoch: int, index: int) -> list[Tensor]:
        return baseline.load_clip(*self._draw(epoch, index))

    def decode(self, epoch: int, indices: Sequence[int]) -> None:
        for index in indices:
            decode_files(self._draw(epoch, index)[0])

    def checks(self) -> list[Check]:
        """Ours against the float pipeline (decoder included), in grey levels."""
        limits = {DEVICE: 0.005, WORKER: 1.0, BASELINE: 0.005}
        worst = dict.fromkeys(limits, 0.0)
        size = 0
        for index in range(min(self.count, 3)):
            paths, placement = self._draw(0, index)
            height, width = self._sizes[index]
            if placement.height < height or placement.width < width:
                # Frames that shrink are resized in the worker, in uint8.
                limits[DEVICE] = limits[WORKER]
            fast = {BASELINE: self.published(0, index)[1]}
            for name, dataset in self.ours.items():
                clip = dataset.train_clip(SampleKey(0, index))
                fast[name] = dataset.transform.clips(collate_clips([clip]))[1][0]
                size = max(size, clip.frames.nbytes)
            exact = _float_pipeline(paths, placement)
            worst = {name: max(worst[name], grey_levels(fast[name], exact)) for name in limits}
        found = [Check(name, worst[name], limit, "grey levels") for name, limit in limits.items()]
        side = self.video.geometry.train_crop + 1
        allowed = self.video.sampling.num_frames * side**2 * 3 / 1e6
        return [*found, Check("size of a clip that leaves the worker", size / 1e6, allowed, "MB")]

    def _draw(self, epoch: int, index: int) -> tuple[list[str], Placement]:
        """Files and placement of a training clip."""
        numbers, placement = self.video.training_draw(SampleKey(epoch, index), *self._sizes[index])
        return self.video.paths(self.video.segments[index], numbers), placement


def _float_pipeline(paths: Sequence[str], placement: Placement) -> Tensor:
    """The fast pathway (3, T, S, S) by `place_float`, normalised after the resize."""
    decode = make_decoder("auto")
    frames = np.stack([read_jpeg(path, "benchmark", decode) for path in paths])
    placed = place_float(torch.from_numpy(frames), placement).permute(3, 0, 1, 2)
    return (placed / 255 - baseline.MEAN) / baseline.STD


def _one_core(clips: _Clips, rounds: int) -> Table:
    def each(make: Callable[[int, int], object]) -> Callable[[], None]:
        epochs = count()

        def run() -> None:
            epoch = next(epochs)
            for index in range(clips.count):
                make(epoch, index)

        return run

    parts = {
        BASELINE: each(clips.published),
        **{name: each(into_ring(dataset)) for name, dataset in clips.ours.items()},
        LIMIT: each(lambda epoch, index: clips.decode(epoch, [index])),
    }
    times = _per_clip(interleaved(parts, rounds, time.thread_time), clips.count)
    return Table("training clips, one core", "processor time per clip", times, BASELINE, LIMIT)


def _per_clip(milliseconds: dict[str, float], clips: int) -> dict[str, float]:
    return {name: value / clips for name, value in milliseconds.items()}


def into_ring(dataset: SegmentDataset) -> Callable[[int, int], object]:
    """Training clips written into the slots of a ring in turn, as a worker does."""
    slots = 2 * _BATCH_CLIPS + 1
    ring = SharedRing([dataset.item_bytes()], slots)
    slot = cycle(range(slots))
    return lambda epoch, index: ring.load(dataset, [SampleKey(epoch, index)], next(slot))


def _device_step(clips: _Clips, rounds: int) -> Table:
    """The device transform: on a GPU including the transfer, else on one core."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    parts = {}
    for name, dataset in clips.ours.items():
        keys = [SampleKey(0, index % clips.count) for index in range(_BATCH_CLIPS)]
        batch = collate_clips([dataset.train_clip(key) for key in keys])
        moved = batch.to(device)
        transform = partial(dataset.transform.clips, moved)
        parts[f"transform; {name}"] = synchronised(transform, device)
        if device.type == "cuda":
            transfer = partial(batch.pin_memory().to, device)
            parts[f"transfer; {name}"] = synchronised(transfer, device)
    times = interleaved(parts, rounds, clock_of(device))
    return Table(f"on the device ({device.type})", "per clip", _per_clip(times, _BATCH_CLIPS))


def _through_workers(clips: _Clips, rounds: int) -> list[Table]:
    """Whole epochs; every variant has its own workers, idle while others run."""
    ours = {
        name: _batch_loader(clips.ours[DEVICE], ring)
        for name, ring in ((RING, True), (PLAIN, False))
    }
    loaders: dict[str, Any] = {
        BASELINE: _torch_loader(
            lambda batch: default_collate([clips.published(0, index) for index in batch]),
            clips.count,
        ),
        **ours,
        LIMIT: _torch_loader(partial(clips.decode, 0), clips.count),
    }
    clocks = {"wall time": time.perf_counter}
    if sys.platform == "linux":
        clocks["processor time of all processes"] = family_time
    times = interleaved_by(
        {name: partial(_drain, loader) for name, loader in loaders.items()},
        rounds,
        list(clocks.values()),
    )
    for loader in ours.values():
        loader.close()
    title = f"training clips, {_WORKERS} workers"
    return [
        Table(title, f"{clock} per clip", _per_clip(found, clips.count), BASELINE, LIMIT)
        for clock, found in zip(clocks, times, strict=True)
    ]


def _batch_loader(dataset: SegmentDataset, ring: bool) -> BatchLoader[ClipBatch]:
    sampler = GlobalBatchSampler(len(dataset), _BATCH_CLIPS, shuffle=False, drop_last=False)
    return BatchLoader(dataset, sampler, num_workers=_WORKERS, shared_ring=ring)


def _torch_loader(load: Callable[[list[int]], object], clips: int) -> DataLoader[Any]:
    """A plain loader whose workers call `load` with the positions of a batch."""
    return DataLoader(
        range(clips),  # type: ignore[arg-type]
        batch_size=_BATCH_CLIPS,
        num_workers=_WORKERS,
        persistent_workers=True,
        collate_fn=load,
        worker_init_fn=_one_cv_thread,
    )


def _one_cv_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def _drain(loader: Any) -> None:
    for _ in loader:
        pass


@dataclass(frozen=True)
class ClipCosts:
    """Milliseconds per training clip.

    decode: decoding alone, on one core. worker: all work of a worker, decoding included.
    transfer: to the GPU; None without a GPU. transform: on the device, in addition to the model's
    time. model: None if unknown.
    """

    decode: float
    worker: float
    transform: float
    transfer: float | None = None
    model: float | None = None

    def rates(self, cores: int) -> dict[str, float]:
        """Clips per second of the parts that run side by side, workers on `cores` cores."""
        rates = {"workers": cores * 1e3 / self.worker}
        if self.transfer is not None:
            rates["transfer"] = 1e3 / self.transfer
        if self.model is not None:
            rates["model"] = 1e3 / (self.model + self.transform)
        return rates


def limited_by(costs: ClipCosts, cores: int) -> str:
    """The slowest part: decode, workers, transfer or model.

    If the workers are slowest and spend most of their time on decoding, it is decode.
    """
    rates = costs.rates(cores)
    slowest = min(rates, key=lambda part: rates[part])
    if slowest == "workers" and costs.decode > costs.worker / 2:
        return "decode"
    return slowest


_FIXES = {
    "decode": "more cores or smaller JPEG files",
    "workers": "more cores, or DATA.RESIZE_ON device where frames are resized",
    "transfer": "DATA_LOADER.PIN_MEMORY, or smaller crops",
    "model": "the GPU is busy all the time",
}


def advice(costs: ClipCosts, cores: int) -> list[str]:
    """Remarks for the user: rates, the bottleneck of this machine, the cores that one GPU needs."""
    rates = costs.rates(cores)
    lines = [f"{part}: {rate:.0f} clips/s" for part, rate in rates.items()]
    lines[0] += f" on {cores} core(s), {costs.decode / costs.worker:.0%} of it decoding"
    limit = limited_by(costs, cores)
    lines.append(f"what limits this machine: {limit} ({_FIXES[limit]})")
    if costs.model is None:
        lines.append("give --model-clips-per-sec for the cores that one GPU needs")
        return lines
    needed = costs.worker / costs.model
    lines.append(
        f"one GPU of {1e3 / costs.model:.4g} clips/s needs {needed:.1f} core(s) for its workers: "
        f"DATA_LOADER.NUM_WORKERS {math.ceil(needed)}, and a core for its own process"
    )
    return lines


def _costs(
    one_core: dict[str, float], device: dict[str, float], model_clips_per_sec: float | None
) -> ClipCosts:
    """Costs with DATA.RESIZE_ON auto on this machine, from milliseconds per clip."""
    name = DEVICE if torch.cuda.is_available() else WORKER
    return ClipCosts(
        decode=one_core[LIMIT],
        worker=one_core[name],
        transform=device[f"transform; {name}"],
        transfer=device.get(f"transfer; {name}"),
        model=None if model_clips_per_sec is None else 1e3 / model_clips_per_sec,
    )
