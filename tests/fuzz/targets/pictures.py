"""Videos, pictures and tars of frames."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import av
import cv2
import numpy as np

from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.tar_folder import TarFolder
from slowfast.datasets.frames.video_file import VideoFile, index_video
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_segment, make_video
from tests.fuzz import target


def videos(folder: Path) -> list[bytes]:
    """A few frames in four containers."""
    made = []
    kinds = (
        ("mp4", "libx264", "yuv420p"),
        ("mkv", "mpeg4", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("gif", "gif", "rgb8"),
    )
    for suffix, codec, pixels in kinds:
        path = folder / f"seed.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=30)
            stream.height, stream.width, stream.pix_fmt = 32, 32, pixels
            for level in range(6):
                picture = np.full((32, 32, 3), 30 * level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
            container.mux(stream.encode())
        made.append(path.read_bytes())
    return made


@target("video", ".mp4", videos)
def read_video(path: Path) -> object:
    source = VideoFile(index_video(path), make_segment(0, 5))
    return [frame.shape for frame in source.read([0, 3, 5])]


def pictures(folder: Path) -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    return [cv2.imencode(".jpg", noise)[1].tobytes()]


def _decoded(path: Path, decoder: str) -> object:
    try:
        return make_decoder(decoder)(path.read_bytes()).shape
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


@target("jpeg", ".jpg", pictures)
def read_jpeg_file(path: Path) -> object:
    return _decoded(path, "simplejpeg")


@target("jpeg_opencv", ".jpg", pictures)
def read_jpeg_file_opencv(path: Path) -> object:
    return _decoded(path, "opencv")


def tars(folder: Path) -> list[bytes]:
    frames = make_video(folder / "frames", 3)
    with tarfile.open(folder / "seed.tar", "w") as tar:
        tar.add(frames, arcname=".")
    return [(folder / "seed.tar").read_bytes()]


@target("tar", ".tar", tars)
def read_tar(path: Path) -> object:
    os.environ["SUML_CACHE"] = str(path.parent / "cache")
    found = TarFolder.find(path)
    return found and found.numbers
