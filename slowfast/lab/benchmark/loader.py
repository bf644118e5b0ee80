"""Training clips: the published steps, ours, and pure decoding."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from slowfast.datasets.clips.collate import collate_clips
from slowfast.datasets.clips.transforms import place_float
from slowfast.datasets.frames.image_files import make_decoder, read_jpeg
from slowfast.datasets.loading.loader import BatchLoader, GlobalBatchSampler
from slowfast.datasets.loading.shared_ring import SharedRing
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import ClipBatch, SampleKey
from slowfast.lab.benchmark import baseline
from slowfast.lab.benchmark.advice import ClipCosts, advice
from slowfast.lab.benchmark.frames import Video
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import (
    core_count,
    family_time,
    interleaved,
    interleaved_by,
    one_thread,
)

ALPHA = 4
_GREY = 255 * baseline.STD
_BATCH_CLIPS = 4
_WORKERS = 2
# Names of the parts.
BASELINE, LIMIT = "published steps", "limit: decode alone"
DEVICE, WORKER = "ours, resize on the device", "ours, resize in the worker"
RING, PLAIN = "ours, shared ring", "ours, fresh shared memory"


def loader_benchmark(video: Video, rounds: int, model_clips_per_sec: float | None) -> Report:
    """Cost of a training clip on one core and through two workers, and what limits a machine.

    model_clips_per_sec: training clips that one GPU's model takes; None: not known.
    """
    clips = _Clips(video)
    report = Report("loader", checks=clips.checks())
    with one_thread():
        report.tables += [_one_core(clips, rounds), _device_step(clips, rounds)]
    if core_count() >= _WORKERS:
        report.tables += _through_workers(clips, rounds)
    report.remarks = advice(_costs(report.tables, model_clips_per_sec), core_count())
    return report


class _Clips:
    """The same training clips, made in every way."""

    def __init__(self, video: Video) -> None:
        self.video = video
        self.ours = {
            DEVICE: video.dataset("train", resize_on_device=True),
            WORKER: video.dataset("train"),
        }
        self.count = len(video.segments)
        self._decode = make_decoder("auto")
        self._sizes = [video.frame_size(index) for index in range(self.count)]

    def paths(self, epoch: int, index: int) -> list[str]:
        numbers, _ = self.video.training_draw(SampleKey(epoch, index), *self._sizes[index])
        return self.video.paths(self.video.segments[index], numbers)

    def published(self, epoch: int, index: int) -> list[Tensor]:
        _, placement = self.video.training_draw(SampleKey(epoch, index), *self._sizes[index])
        return baseline.load_clip(self.paths(epoch, index), placement, ALPHA)

    def decode(self, epoch: int, index: int) -> None:
        """Decode every file of the clip once, one over the other."""
        frame = None
        for path in dict.fromkeys(self.paths(epoch, index)):
            frame = read_jpeg(path, "benchmark", self._decode, buffer=frame)

    def checks(self) -> list[Check]:
        """Ours against the float pipeline (decoder included), in grey levels."""
        limits = {DEVICE: 0.005, WORKER: 1.0}
        worst = dict.fromkeys(limits, 0.0)
        worst_published, size = 0.0, 0
        for index in range(min(self.count, 3)):
            expected = self.published(0, index)[1]
            exact = self._float_pipeline(index)
            height, width = self._sizes[index]
            _, placement = self.video.training_draw(SampleKey(0, index), height, width)
            if placement.height < height or placement.width < width:
                # Frames that shrink are resized in the worker, in uint8.
                limits[DEVICE] = limits[WORKER]
            worst_published = max(worst_published, _distance(expected, exact))
            for name, dataset in self.ours.items():
                clip = dataset.train_clip(SampleKey(0, index))
                fast = dataset.transform.clips(collate_clips([clip]))[1][0]
                worst[name] = max(worst[name], _distance(fast, exact))
                size = max(size, clip.frames.nbytes)
        found = [Check(name, worst[name], limits[name], "grey levels") for name in limits]
        found.append(Check(BASELINE, worst_published, 0.005, "grey levels"))
        side = self.video.geometry.train_crop + 1
        allowed = self.video.sampling.num_frames * side**2 * 3 / 1e6
        return [*found, Check("size of a clip that leaves the worker", size / 1e6, allowed, "MB")]

    def _float_pipeline(self, index: int) -> Tensor:
        """The fast pathway (3, T, S, S) by `place_float`, normalised behind the resize."""
        _, placement = self.video.training_draw(SampleKey(0, index), *self._sizes[index])
        frames = [read_jpeg(path, "benchmark", self._decode) for path in self.paths(0, index)]
        placed = place_float(torch.from_numpy(np.stack(frames)), placement).permute(3, 0, 1, 2)
        return (placed / 255 - baseline.MEAN) / baseline.STD


def _distance(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max()) * _GREY


def _one_core(clips: _Clips, rounds: int) -> Table:
    def each(make: Callable[[int, int], object]) -> Callable[[], None]:
        epochs = iter(range(1 << 30))

        def run() -> None:
            epoch = next(epochs)
            for index in range(clips.count):
                make(epoch, index)

        return run

    parts = {
        BASELINE: each(clips.published),
        DEVICE: each(_into_ring(clips.ours[DEVICE])),
        WORKER: each(_into_ring(clips.ours[WORKER])),
        LIMIT: each(clips.decode),
    }
    seconds = interleaved(parts, rounds, time.thread_time)
    milliseconds = {name: value / clips.count * 1e3 for name, value in seconds.items()}
    return Table(
        "training clips, one core", "processor time per clip", milliseconds, BASELINE, LIMIT
    )


def _into_ring(dataset: SegmentDataset) -> Callable[[int, int], object]:
    """Training clips written into the slots of a ring in turn, as a worker does."""
    slots = 2 * _BATCH_CLIPS + 1
    ring = SharedRing([dataset.item_bytes()], slots)
    slot = cycle(range(slots))
    return lambda epoch, index: ring.load(dataset, [SampleKey(epoch, index)], next(slot))


def _device_step(clips: _Clips, rounds: int) -> Table:
    """The device transform, where it runs: on a GPU with the transfer to it, else on one core."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batches = {}
    for name, dataset in clips.ours.items():
        samples = [dataset.train_clip(SampleKey(0, index % clips.count)) for index in range(4)]
        batch = collate_clips(samples)
        batches[name] = batch.pin_memory() if device.type == "cuda" else batch
    parts = {}
    for name, batch in batches.items():
        moved = batch.to(device)
        parts[f"transform; {name}"] = _synchronised(device, clips.ours[name].transform.clips, moved)
        if device.type == "cuda":
            parts[f"transfer; {name}"] = _synchronised(device, batch.to, device)
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    seconds = interleaved(parts, rounds, clock)
    milliseconds = {name: value / 4 * 1e3 for name, value in seconds.items()}
    return Table(f"on the device ({device.type})", "per clip", milliseconds)


def _synchronised(
    device: torch.device, step: Callable[[Any], object], argument: Any
) -> Callable[[], None]:
    def run() -> None:
        step(argument)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


class _Made(Dataset[Any]):
    """Items by a function of the position."""

    def __init__(self, make: Callable[[int, int], Any], count: int) -> None:
        self._make = make
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        return self._make(0, index) or 0


def _through_workers(clips: _Clips, rounds: int) -> list[Table]:
    """Whole epochs; every way has workers of its own, idle while others run."""
    ours = {
        name: _batch_loader(clips.ours[DEVICE], ring)
        for name, ring in ((RING, True), (PLAIN, False))
    }
    loaders: dict[str, Any] = {
        BASELINE: _torch_loader(clips.published, clips.count),
        **ours,
        LIMIT: _torch_loader(clips.decode, clips.count, len),
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
    return [
        Table(
            f"training clips, {_WORKERS} workers",
            f"{clock} per clip",
            {name: value / clips.count * 1e3 for name, value in seconds.items()},
            BASELINE,
            LIMIT,
        )
        for clock, seconds in zip(clocks, times, strict=True)
    ]


def _batch_loader(dataset: SegmentDataset, ring: bool) -> BatchLoader[ClipBatch]:
    sampler = GlobalBatchSampler(len(dataset), _BATCH_CLIPS, shuffle=False, drop_last=False)
    return BatchLoader(dataset, sampler, num_workers=_WORKERS, shared_ring=ring)


def _torch_loader(
    make: Callable[[int, int], Any], count: int, collate: Callable[[Any], Any] | None = None
) -> DataLoader[Any]:
    return DataLoader(
        _Made(make, count),
        batch_size=_BATCH_CLIPS,
        num_workers=_WORKERS,
        persistent_workers=True,
        collate_fn=collate,
        worker_init_fn=_one_cv_thread,
    )


def _one_cv_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def _drain(loader: Any) -> None:
    for _ in loader:
        pass


def _costs(tables: list[Table], model_clips_per_sec: float | None) -> ClipCosts:
    """Of the way that DATA.RESIZE_ON auto takes on this machine."""
    name = DEVICE if torch.cuda.is_available() else WORKER
    one_core, device = tables[0].milliseconds, tables[1].milliseconds
    return ClipCosts(
        decode=one_core[LIMIT],
        worker=one_core[name],
        transform=device[f"transform; {name}"],
        transfer=device.get(f"transfer; {name}"),
        model=None if model_clips_per_sec is None else 1e3 / model_clips_per_sec,
    )
