"""JPEG frames for the benchmarks: those of a config, or synthetic ones like EPIC's.

A synthetic frame has 456x256 pixels, about 18 KB, and the same content on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fvcore.common.config import CfgNode

from slowfast.config.heads import HeadSpec
from slowfast.datasets.clips.device_transform import DeviceTransform
from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.settings import ClipSettings
from slowfast.datasets.clips.transforms import Geometry, Placement
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.frames.image_files import make_decoder, read_jpeg
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.frames.video_folder import JpegFolder
from slowfast.datasets.from_cfg import segment_dataset
from slowfast.datasets.registry import build_source
from slowfast.datasets.segment_dataset import SegmentDataset
from slowfast.datasets.types import FrameStore, SampleKey, Segment
from slowfast.lab.benchmark.baseline import ALPHA, MEAN, STD
from slowfast.utils.errors import UserError
from slowfast.utils.seeding import Stream, generator

HEIGHT, WIDTH = 256, 456
VIDEO_FRAMES = 640
_VIDEO = "P01_01"
_SEED = 0
# Names of our two variants in a table.
DEVICE, WORKER = "ours, resize on the device", "ours, resize in the worker"


@dataclass(frozen=True)
class Video:
    """Segments for a benchmark to read; their frames are in folders of JPEG files."""

    frames: FrameStore
    segments: Sequence[Segment]
    sampling: ClipSampling
    geometry: Geometry
    views: TestViews

    def datasets(self, split: str) -> dict[str, SegmentDataset]:
        """The data set of DEVICE and that of WORKER."""
        return {name: self._dataset(split, name == DEVICE) for name in (DEVICE, WORKER)}

    def _dataset(self, split: str, resize_on_device: bool) -> SegmentDataset:
        settings = ClipSettings(
            sampling=self.sampling,
            geometry=self.geometry,
            views=self.views,
            heads=(HeadSpec("verb", 1, False), HeadSpec("noun", 1, False)),
            transform=DeviceTransform((MEAN,) * 3, (STD,) * 3, "bgr", ALPHA),
            seed=_SEED,
            stream=Stream.EGO,
            resize_on_device=resize_on_device,
        )
        return SegmentDataset(self.segments, split, self.frames, settings)

    def paths(self, segment: Segment, numbers: Sequence[int]) -> list[str]:
        """The files of frames `numbers`. Raises: UserError if the video is not a folder."""
        source = self.frames.open(segment)
        if not isinstance(source, JpegFolder):
            raise UserError(
                f"video {segment.video_id} is not a folder of JPEG files; the benchmark needs one"
            )
        return [source.file(number) for number in numbers]

    def frame_size(self, index: int) -> tuple[int, int]:
        """(H, W) of the frames of a segment."""
        segment = self.segments[index]
        frame = next(iter(self.frames.open(segment).read([segment.start_frame])))
        return frame.shape[0], frame.shape[1]

    def training_draw(self, key: SampleKey, height: int, width: int) -> tuple[list[int], Placement]:
        """Frame numbers and placement of the data set's training clip `key`."""
        rng = generator(_SEED, key.epoch, key.index, Stream.EGO)
        numbers = self.sampling.train(self.segments[key.index], rng)
        return numbers.tolist(), self.geometry.train(height, width, rng)


def decode_files(paths: Iterable[str]) -> None:
    """Decode every file once into the same memory: the upper bound for any loader."""
    decode, frame = make_decoder("auto"), None
    for path in dict.fromkeys(paths):
        frame = read_jpeg(path, "benchmark", decode, buffer=frame)


def configured_video(
    cfg: CfgNode, split: str, lengths: Sequence[int] = (), count: int = 16
) -> Video:
    """Segments of a config's ego data set: `count` spread evenly, or those nearest `lengths`.

    Raises: UserError for bad lists or folders.
    """
    dataset = segment_dataset(build_source(cfg.EGO.DATASET, cfg, split, "ego"))
    by_length = sorted(dataset.segments, key=lambda segment: segment.num_frames)
    spans = [segment.num_frames for segment in by_length]
    nearest = np.searchsorted(spans, lengths).clip(max=len(spans) - 1)
    spread = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int)
    return Video(
        frames=dataset.frames,
        segments=(
            [by_length[position] for position in nearest]
            if lengths
            else [dataset.segments[position] for position in spread]
        ),
        sampling=dataset.sampling,
        geometry=dataset.geometry,
        views=dataset.views,
    )


def made_video(folder: Path, lengths: Sequence[int] = (), count: int = 16) -> Video:
    """A video below `folder`, with `count` segments of 150 frames or those of `lengths`."""
    write_frames(folder / "P01" / _VIDEO)
    step = (VIDEO_FRAMES - 150) // count
    spans = [(1, length) for length in lengths] or [
        (1 + step * index, 150 + step * index) for index in range(count)
    ]
    return Video(
        frames=VideoStore([str(folder)], make_decoder("auto")),
        segments=[
            Segment(f"{_VIDEO}_{index}", _VIDEO, "P01", start, stop, "", ((0,), (0,)))
            for index, (start, stop) in enumerate(spans)
        ],
        sampling=ClipSampling(32, 2),
        geometry=Geometry((256, 320), train_crop=256, test_crop=256),
        views=TestViews(10, 3),
    )


def write_frames(folder: Path, count: int = VIDEO_FRAMES) -> None:
    """`count` frames: a textured scene under a moving camera."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(_SEED)
    scene = np.full((HEIGHT + 64, WIDTH + 128, 3), 120.0, np.float32)
    # Detail at all sizes, as a photograph has: the amplitude falls with the frequency.
    for size, amplitude in ((4, 60), (12, 40), (40, 25), (120, 12), (320, 4)):
        coarse = rng.normal(0, amplitude, (size, size, 3)).astype(np.float32)
        scene += cv2.resize(coarse, (scene.shape[1], scene.shape[0]), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(scene, 0, 255).astype(np.uint8)
    for number in range(count):
        top = round(32 + 31 * np.sin(number / 50))
        left = round(64 + 63 * np.cos(number / 70))
        frame = pixels[top : top + HEIGHT, left : left + WIDTH]
        path = folder / f"frame_{number + 1:010d}.jpg"
        cv2.imwrite(str(path), frame, [cv2.IMWRITE_JPEG_QUALITY, 71])
