"""The multi-view test of one segment: views decoded one by one, our loader, and pure decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from torch import Tensor

from slowfast.datasets.clips.transforms import Placement
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.selection import Selection
from slowfast.datasets.types import SegmentViews
from slowfast.lab.benchmark import baseline
from slowfast.lab.benchmark.baseline import BASELINE, grey_levels
from slowfast.lab.benchmark.frames import DEVICE, WORKER, Video, decode_files
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import interleaved, one_thread

LENGTHS = (60, 150, 600)
LIMIT = "limit: decode each frame once"
# Largest difference to the published steps, in grey levels.
_ALLOWED = {DEVICE: 0.005, WORKER: 1.0}


def views_benchmark(video: Video, rounds: int) -> Report:
    """Loading all views of the segments of a video, one table per segment."""
    report = Report("views")
    ours = video.datasets("test")
    with one_thread():
        for index in range(len(video.segments)):
            report.tables.append(_segment(video, ours, index, rounds))
            for name, dataset in ours.items():
                report.checks.append(_check(video, name, dataset, index))
    return report


def _segment(video: Video, ours: Mapping[str, SegmentDataset], index: int, rounds: int) -> Table:
    segment = video.segments[index]
    numbers = np.unique(video.sampling.views(segment, video.views.temporal)).tolist()

    def published() -> None:
        for view in range(len(video.views)):
            _published_view(video, index, view)

    loaders = {name: _loader(Selection(dataset, [index])) for name, dataset in ours.items()}
    parts: dict[str, Callable[[], object]] = {
        BASELINE: published,
        **{name: partial(list, loader) for name, loader in loaders.items()},
        LIMIT: partial(decode_files, video.paths(segment, numbers)),
    }
    return Table(
        f"{len(video.views)} views of a segment of {segment.num_frames} frames, one core",
        "processor time per segment",
        interleaved(parts, rounds, time.thread_time),
        BASELINE,
        LIMIT,
    )


def _loader(dataset: Selection) -> BatchLoader[SegmentViews]:
    """Loader in this process that reuses its memory."""
    sampler = GlobalBatchSampler(len(dataset), 1, shuffle=False, drop_last=False)
    return BatchLoader(dataset, sampler, shared_ring=True)


def _published_view(video: Video, index: int, view: int) -> Tensor:
    """Fast pathway (3, T, S, S) of one of the views."""
    numbers, placement = _placed(video, index, view)
    return baseline.load_clip(video.paths(video.segments[index], numbers), placement)[1]


def _placed(video: Video, index: int, view: int) -> tuple[list[int], Placement]:
    """Frame numbers and placement of a view."""
    clip, crop = divmod(view, video.views.spatial)
    numbers = video.sampling.views(video.segments[index], video.views.temporal)[clip].tolist()
    return numbers, video.geometry.test(*video.frame_size(index), video.views.crops[crop])


def _check(video: Video, name: str, dataset: SegmentDataset, index: int) -> Check:
    """Compare the first, a middle and the last view of our loader with the published steps."""
    views = dataset.segment_views(index)
    segment = video.segments[index]
    unique = np.unique(video.sampling.views(segment, video.views.temporal))
    where = {
        (*unique[list(view.frame_positions)].tolist(), view.top, view.left): position
        for position, view in enumerate(views.views)
    }
    worst = 0.0
    for number in (0, len(video.views) // 2, len(video.views) - 1):
        numbers, placement = _placed(video, index, number)
        position = where[(*numbers, placement.top, placement.left)]
        fast = dataset.transform.clips(views.batch(position, position + 1))[1][0]
        worst = max(worst, grey_levels(fast, _published_view(video, index, number)))
    title = f"views of {segment.num_frames} frames; {name}"
    decoded = next(iter(dataset.frames.open(segment).read([int(unique[0])])))
    # Large frames are resized in the worker, in uint8.
    resized = tuple(views.frames.shape[1:3]) != decoded.shape[:2]
    return Check(title, worst, _ALLOWED[WORKER if resized else name], "grey levels")
