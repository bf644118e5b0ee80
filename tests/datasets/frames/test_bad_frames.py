"""Any error of a decoder gives one line that names the file, or a replacement frame."""

import tarfile

import numpy as np
import pytest

from slowfast.datasets.frames.bad_frames import BadFrame, BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.utils.errors import UserError
from tests.datasets.frames.test_video_file import all_frames, av, write_video
from tests.datasets.frames.tiny_videos import make_segment, make_video

KINDS = [
    RuntimeError("broken"),
    MemoryError(),
    RecursionError("deep"),
    TypeError("odd"),
    KeyError(3),
]


@pytest.fixture(params=["folder", "tar"])
def jpegs(request, tmp_path):
    folder = make_video(tmp_path / "P01_01", 12)
    if request.param == "tar":
        with tarfile.open(folder.with_suffix(".tar"), "w") as tar:
            tar.add(folder, arcname=".")
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    return tmp_path


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
def test_a_decoder_of_pictures(jpegs, error):
    def decode(data, buffer=None):
        raise error

    source = VideoStore([str(jpegs)], decode).open(make_segment(1, 12))
    with pytest.raises(BadFrame, match=r"P01_01.*segment P01_01_1"):
        list(source.read([3]))


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
def test_a_decoder_of_videos(tmp_path, monkeypatch, error):
    path = write_video(tmp_path / "P01_01.mp4", count=24)
    whole = all_frames(path)
    policies = [BadFrames("error"), BadFrames("nearest")]
    sources = [
        VideoStore([str(tmp_path)], make_decoder("auto"), bad_frames=policy).open(
            make_segment(1, 24)
        )
        for policy in policies
    ]
    with monkeypatch.context() as patch:

        def fail(*args, **options):
            raise error

        patch.setattr(av, "open", fail)
        with pytest.raises(BadFrame, match=r"P01_01\.mp4 \(segment P01_01_1\) cannot be decoded"):
            list(sources[0].read([3]))
        with pytest.raises(UserError, match=r"no frame of the segment can be read; the first:"):
            list(sources[1].read([3]))
    assert np.array_equal(next(sources[0].read([3])), whole[2])
