"""Predictions over the time of one video: overlapping clips, each frame decoded once.

A chunk is a stretch of the video whose evenly spread test views are the windows, so the video goes
through the data path of a test. Legend: n windows, K classes of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from slowfast.config.heads import HeadSpec
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.inference.loaded_model import LoadedModel
from slowfast.inference.video_source import VideoSource
from slowfast.utils.progress import progress_line

# Windows of one chunk: more of them decode fewer frames twice and take more memory.
_CHUNK_WINDOWS = 16


@dataclass(frozen=True)
class VideoPrediction:
    """Probabilities of every window of one video.

    starts: (n,) float64, first second of each window, ascending. window_sec: length of a window.
    scores: per head (n, K) float32 probabilities. heads, names: as in `LoadedModel`.
    """

    video: str
    starts: NDArray[np.float64]
    window_sec: float
    scores: Mapping[str, NDArray[np.float32]]
    heads: tuple[HeadSpec, ...]
    names: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def duration_sec(self) -> float:
        return float(self.starts[-1] + self.window_sec)


@dataclass(frozen=True)
class SlidingOptions:
    """stride_sec: distance between windows; None: half a window. batch_size: windows of a forward
    pass. num_workers: loader processes."""

    stride_sec: float | None = None
    batch_size: int = 8
    num_workers: int = 0


@torch.inference_mode()
def predict_video(
    loaded: LoadedModel, source: VideoSource, options: SlidingOptions
) -> VideoPrediction:
    """Score a clip at every stride of the video, including the last clip.

    Raises: UserError for frames that cannot be read.
    """
    plan = _plan(loaded, source, options)
    settings = replace(loaded.transform.settings, views=TestViews(plan.windows, 1))
    chunks = [source.segment(start, plan.length, loaded.heads) for start in plan.starts]
    data = SegmentDataset(chunks, "test", source.store, settings)
    order = GlobalBatchSampler(len(chunks), 1, shuffle=False, drop_last=False)
    loader: BatchLoader = BatchLoader(
        data, order, num_workers=options.num_workers, prefetch_batches=1
    )
    device = next(loaded.model.parameters()).device
    scored: dict[int, list[NDArray[np.float32]]] = {}
    try:
        with progress_line(source.name, len(chunks) * plan.windows, "windows") as line:
            for views in loader:
                first = chunks[views.index].start_frame
                views = views.to(device)
                for begin in range(0, len(views.views), options.batch_size):
                    stop = min(begin + options.batch_size, len(views.views))
                    clips = settings.transform.clips(views.batch(begin, stop))
                    rows = [scores.float().cpu().numpy() for scores in loaded.model(clips)]
                    for row, window in enumerate(range(begin, stop)):
                        scored[first + window * plan.stride] = [head[row] for head in rows]
                    line.advance(stop - begin)
    finally:
        loader.close()
    frames = sorted(scored)
    return VideoPrediction(
        video=source.name,
        starts=(np.array(frames) - source.first_frame) / source.fps,
        window_sec=min(settings.sampling.span, source.num_frames) / source.fps,
        scores={
            head.name: np.stack([scored[frame][k] for frame in frames])
            for k, head in enumerate(loaded.heads)
        },
        heads=loaded.heads,
        names=loaded.names,
    )


@dataclass(frozen=True)
class _Plan:
    """Chunks of equal length, in frames. starts: first frame of each chunk. windows: of a chunk."""

    starts: Sequence[int]
    length: int
    windows: int
    stride: int


def _plan(loaded: LoadedModel, source: VideoSource, options: SlidingOptions) -> _Plan:
    span = loaded.transform.settings.sampling.span
    stride = span / 2 if options.stride_sec is None else options.stride_sec * source.fps
    stride = max(1, round(stride))
    slack = source.num_frames - span
    if slack <= 0:
        return _Plan([source.first_frame], source.num_frames, 1, stride)
    # A video shorter than one chunk is one chunk, with the windows that fit.
    windows = min(_CHUNK_WINDOWS, slack // stride + 1)
    length = span + (windows - 1) * stride
    last = source.num_frames - length
    starts = [*range(0, last, windows * stride), last]
    return _Plan([source.first_frame + start for start in starts], length, windows, stride)
