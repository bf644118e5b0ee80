"""One video for prediction: a video file, or a folder of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from slowfast.config.heads import HeadSpec
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.frames.video_file import index_video
from slowfast.datasets.frames.video_folder import VideoFolder
from slowfast.datasets.types import FrameStore, Segment
from slowfast.utils.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".gif")


class VideoSource(NamedTuple):
    """The frames of one video.

    name: of the file or folder, without suffix. group: participant of its segments, which the store
    finds it by. first_frame: number of the first frame. fps: rate at which frame numbers count.
    """

    name: str
    group: str
    store: FrameStore
    first_frame: int
    num_frames: int
    fps: float

    def segment(self, start_frame: int, num_frames: int, heads: Sequence[HeadSpec]) -> Segment:
        """An unlabelled stretch of the video."""
        labels = tuple(() for _ in heads)
        stop_frame = start_frame + num_frames - 1
        return Segment(self.name, self.name, self.group, start_frame, stop_frame, "", labels)


def open_video(path: Path, fps: float) -> VideoSource:
    """A video file, or a folder of numbered frames.

    fps: rate at which the model's frames are counted. A file's frames are found by their time; a
    folder is assumed to have this rate.

    Raises: UserError for a path that is neither.
    """
    store = VideoStore([str(path.parent)], make_decoder("auto"), number_fps=lambda _: fps)
    if path.is_dir():
        folder = VideoFolder.find(path)
        if folder is None:
            raise UserError(f"{path} holds no frames (frame_0000000001.jpg ...) and is not a video")
        first, last = folder.list_range()
        number = first - folder.numbering
        return VideoSource(path.name, ".", store, number, last - first + 1, fps)
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a video file or a folder of frames")
    index = index_video(path)
    return VideoSource(path.stem, ".", store, 1, max(1, round(index.seconds * fps)), fps)
