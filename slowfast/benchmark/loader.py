"""Training clips: the published steps, ours, and pure decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from slowfast.benchmark import baseline
from slowfast.benchmark.frames import Video
from slowfast.benchmark.report import Check, Report, Table
from slowfast.benchmark.timing import core_count, interleaved, one_thread
from slowfast.datasets.frames import make_decoder, read_jpeg
from slowfast.datasets.loader import BatchLoader, GlobalBatchSampler, collate_clips
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.transforms import place_float
from slowfast.datasets.types import ClipBatch, SampleKey

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
        report.tables.append(_through_workers(clips, rounds))
    report.remarks = _advice(report.tables, model_clips_per_sec)
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
        """Decode every file of the clip once, and drop it."""
        for _ in self._decoded(epoch, index):
            pass

    def _decoded(self, epoch: int, index: int) -> Iterator[np.ndarray]:
        for path in dict.fromkeys(self.paths(epoch, index)):
            yield read_jpeg(path, "benchmark", self._decode)

    def checks(self) -> list[Check]:
        """Ours against the float pipeline (decoder included), in grey levels."""
        limits = {DEVICE: 0.005, WORKER: 1.0}
        worst = dict.fromkeys(limits, 0.0)
        worst_published, size = 0.0, 0
        for index in range(min(self.count, 3)):
            expected = self.published(0, index)[1]
            exact = self._float_pipeline(index)
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

    def ours(name: str) -> Callable[[int, int], object]:
        return lambda epoch, index: clips.ours[name].train_clip(SampleKey(epoch, index))

    parts = {
        BASELINE: each(clips.published),
        DEVICE: each(ours(DEVICE)),
        WORKER: each(ours(WORKER)),
        LIMIT: each(clips.decode),
    }
    seconds = interleaved(parts, rounds, time.thread_time)
    milliseconds = {name: value / clips.count * 1e3 for name, value in seconds.items()}
    return Table(
        "training clips, one core", "processor time per clip", milliseconds, BASELINE, LIMIT
    )


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


def _through_workers(clips: _Clips, rounds: int) -> Table:
    """Wall time of whole epochs; every way has workers of its own, idle while others run."""
    ours = {
        name: _batch_loader(clips.ours[DEVICE], ring)
        for name, ring in ((RING, True), (PLAIN, False))
    }
    plain = {
        BASELINE: _torch_loader(clips.published, clips.count),
        LIMIT: _torch_loader(clips.decode, clips.count),
    }
    order = (BASELINE, RING, PLAIN, LIMIT)
    loaders: dict[str, Any] = {**ours, **plain}
    seconds = interleaved(
        {name: lambda name=name: _drain(loaders[name]) for name in order},  # type: ignore[misc]
        rounds,
        time.perf_counter,
    )
    for loader in ours.values():
        loader.close()
    milliseconds = {name: value / clips.count * 1e3 for name, value in seconds.items()}
    return Table(
        f"training clips, {_WORKERS} workers", "wall time per clip", milliseconds, BASELINE, LIMIT
    )


def _batch_loader(dataset: SegmentDataset, ring: bool) -> BatchLoader[ClipBatch]:
    sampler = GlobalBatchSampler(len(dataset), _BATCH_CLIPS, shuffle=False, drop_last=False)
    return BatchLoader(dataset, sampler, num_workers=_WORKERS, shared_ring=ring)


def _torch_loader(make: Callable[[int, int], Any], count: int) -> DataLoader[Any]:
    return DataLoader(
        _Made(make, count),
        batch_size=_BATCH_CLIPS,
        num_workers=_WORKERS,
        persistent_workers=True,
        worker_init_fn=_one_cv_thread,
    )


def _one_cv_thread(worker: int) -> None:
    cv2.setNumThreads(0)


def _drain(loader: Any) -> None:
    for _ in loader:
        pass


def _advice(tables: list[Table], model_clips_per_sec: float | None) -> list[str]:
    """What limits a training: decoding, the rest of the workers, the transfer or the model."""
    cost = tables[0].milliseconds
    name = DEVICE if torch.cuda.is_available() else WORKER
    rates = {
        f"decoding on {core_count()} core(s)": core_count() * 1e3 / cost[LIMIT],
        f"workers on {core_count()} core(s)": core_count() * 1e3 / cost[name],
    }
    transfer = tables[1].milliseconds.get(f"transfer; {name}")
    if transfer is not None:
        rates["transfer to the GPU"] = 1e3 / transfer
    if model_clips_per_sec is not None:
        rates["model"] = model_clips_per_sec
    lines = [f"{what}: {rate:.0f} clips/s" for what, rate in rates.items()]
    lowest = min(rates, key=lambda what: rates[what])
    lines.append(f"the slowest of these, which limits this machine: {lowest}")
    if model_clips_per_sec is None:
        lines.append("give --model-clips-per-sec for the cores that one GPU needs")
    else:
        cores = model_clips_per_sec * cost[name] / 1e3
        lines.append(f"one GPU of {model_clips_per_sec:g} clips/s needs {cores:.1f} core(s)")
    return lines
