"""Training clips from trimmed mp4 files, against one sequential decode of the same frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from slowfast.datasets.clips.sampling import ClipSampling
from slowfast.datasets.clips.transforms import Geometry
from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.types import SampleKey, Segment
from slowfast.lab.benchmark.frames import DEVICE, HEIGHT, WIDTH, WORKER, Video, write_frames
from slowfast.lab.benchmark.loader import into_ring
from slowfast.lab.benchmark.report import Check, Report, Table
from slowfast.lab.benchmark.timing import interleaved, one_thread

CLIP_FRAMES, FPS = 180, 60
LIMIT = "limit: sequential decode up to the last frame"
WHOLE = "sequential decode of the whole file"
OPEN = "opening the file"


def videos_benchmark(folder: Path, clips: int, rounds: int) -> Report:
    """Cost of a training clip (32 frames, stride 2) from its file, on one core.

    folder: empty folder for the files. clips: number of files.
    """
    files = _Files(folder, clips)
    with one_thread():
        ours = files.video.datasets("train")
        parts: dict[str, Callable[[int, int], object]] = {
            **{name: into_ring(ours[name]) for name in (DEVICE, WORKER)},
            LIMIT: lambda epoch, index: files.decode(index, max(files.drawn(epoch, index))),
            WHOLE: lambda epoch, index: files.decode(index, CLIP_FRAMES),
            OPEN: lambda epoch, index: files.decode(index, -1),
        }
        epochs = {name: files.epochs(make) for name, make in parts.items()}
        times = interleaved(epochs, rounds, time.thread_time)
    times = {name: value / clips for name, value in times.items()}
    title = f"training clips of mp4 files of {CLIP_FRAMES} frames, one core"
    table = Table(title, "processor time per clip", times, limit=LIMIT)
    return Report("videos", [table], [files.check()])


class _Files:
    """mp4 files of one segment each, as x264 makes them by default, and their training clips."""

    def __init__(self, folder: Path, clips: int) -> None:
        self._folder = folder
        step = 8
        write_frames(folder / "frames", CLIP_FRAMES + step * clips)
        segments = []
        for index in range(clips):
            first = 1 + step * index
            last = first + CLIP_FRAMES - 1
            segments.append(
                Segment(f"P01_01_{index}", "P01_01", "P01", first, last, "", ((0,),) * 2)
            )
        self.video = Video(
            frames=VideoStore([str(folder)], make_decoder("auto"), number_fps=lambda _: float(FPS)),
            segments=segments,
            sampling=ClipSampling(32, 2),
            geometry=Geometry((256, 320), train_crop=256, test_crop=256),
            views=TestViews(10, 3),
        )
        for index in range(clips):
            self._encode(index)

    def epochs(self, make: Callable[[int, int], object]) -> Callable[[], None]:
        """Work that loads the clips of all files, for the next epoch in each call."""
        numbers = count()

        def run() -> None:
            epoch = next(numbers)
            for index in range(len(self.video.segments)):
                make(epoch, index)

        return run

    def drawn(self, epoch: int, index: int) -> list[int]:
        """Positions in the file of the frames of a training clip."""
        numbers, _ = self.video.training_draw(SampleKey(epoch, index), HEIGHT, WIDTH)
        first = self.video.segments[index].start_frame
        return [min(number - first, CLIP_FRAMES - 1) for number in numbers]

    def decode(self, index: int, last: int) -> None:
        """Decode frames 0 to `last` in order and drop them; -1: only open the file."""
        import av

        with av.open(str(self._path(index))) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            if last >= 0:
                for position, _ in enumerate(container.decode(stream)):
                    if position == last:
                        break

    def check(self) -> Check:
        """Frames of the first clip against a sequential decode, in grey levels."""
        import av

        with av.open(str(self._path(0))) as container:
            whole = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        numbers, _ = self.video.training_draw(SampleKey(0, 0), HEIGHT, WIDTH)
        frames = self.video.frames.open(self.video.segments[0]).read(numbers)
        worst = max(
            float(np.abs(frame.astype(np.int16) - whole[position]).max())
            for frame, position in zip(frames, self.drawn(0, 0), strict=True)
        )
        return Check("frames of a clip", worst, 0, "grey levels")

    def _path(self, index: int) -> Path:
        return self._folder / "P01" / f"{self.video.segments[index].segment_id}.mp4"

    def _encode(self, index: int) -> None:
        import av

        path, segment = self._path(index), self.video.segments[index]
        path.parent.mkdir(exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"threads": "1"})
            stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
            for number in range(segment.start_frame, segment.stop_frame + 1):
                picture = cv2.imread(f"{self._folder}/frames/frame_{number:010d}.jpg")
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
            container.mux(stream.encode())
