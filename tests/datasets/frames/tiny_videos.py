"""Small videos as folders of JPEG files whose pictures tell which frame they are."""

from pathlib import Path

import cv2
import numpy as np

from slowfast.datasets.types import Segment

HEIGHT, WIDTH = 32, 56


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth picture whose level tells the frame: its mean is number % 100 + 100."""
    ramp = np.linspace(-60, 60, width)[None, :, None] + np.linspace(-20, 20, height)[:, None, None]
    return np.clip(number % 100 + 100 + ramp + np.zeros(3), 0, 255).astype(np.uint8)


def make_video(
    folder: Path,
    count: int,
    *,
    first: int = 1,
    name: str = "frame_{:010d}.jpg",
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Path:
    """`count` JPEG files from number `first`; file n shows picture(n - first + 1)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        frame = picture(number + 1, *size)
        cv2.imwrite(str(folder / name.format(first + number)), frame)
    return folder


def make_segment(start: int = 1, stop: int = 40, video: str = "P01_01", name: str = "") -> Segment:
    return Segment(
        segment_id=name or f"{video}_{start}",
        video_id=video,
        participant_id=video.split("_")[0],
        start_frame=start,
        stop_frame=stop,
        narration="open door",
        labels=((1,), (2,)),
    )
