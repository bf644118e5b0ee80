import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from slowfast.datasets.frame_store import VideoStore
from slowfast.datasets.frames import ImageFiles, make_decoder
from slowfast.utils.errors import UserError
from tests.datasets.tiny_videos import make_segment, make_video, picture

DECODERS = ["simplejpeg", "opencv"]


def store(*roots, offset=0, decoder="auto"):
    return VideoStore([str(root) for root in roots], make_decoder(decoder), frame_offset=offset)


def numbers_of(frames):
    """Which pictures were read (see `picture`); JPEG moves a mean by less than half a level."""
    levels = [frame.mean() for frame in frames]
    offset = picture(1).mean() - 1
    return [round(float(level - offset)) for level in levels]


def test_decoders_give_equal_pixels(video_root):
    files = sorted((video_root / "P01" / "P01_01").iterdir())[:5]
    for file in files:
        ours, theirs = (make_decoder(name)(file.read_bytes()) for name in DECODERS)
        assert np.array_equal(ours, theirs)
        assert np.array_equal(ours, cv2.imread(str(file)))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("broken", [b"", b"no picture", "half", "end", "png"])
def test_broken_files_name_themselves(tmp_path, decoder, broken):
    folder = make_video(tmp_path / "P01_01", 5)
    file = folder / "frame_0000000003.jpg"
    whole = file.read_bytes()
    kinds = {
        "half": whole[: len(whole) // 2],
        "end": whole[:-2],
        "png": cv2.imencode(".png", picture(3))[1].tobytes(),
    }
    file.write_bytes(kinds.get(broken, broken))
    source = store(tmp_path, decoder=decoder).open(make_segment(1, 5, name="P01_01_7"))
    with pytest.raises(UserError, match=r"P01_01/frame_0000000003\.jpg \(segment P01_01_7\)"):
        list(source.read([2, 3]))


def test_unknown_decoder_is_an_error():
    with pytest.raises(UserError, match=r"DATA\.DECODER turbo.*auto, simplejpeg, opencv"):
        make_decoder("turbo")


@pytest.mark.parametrize(
    "folder", ["P01/P01_01", "P01/rgb_frames/P01_01", "P01_01"], ids=["split", "rgb", "flat"]
)
@pytest.mark.parametrize(
    ("name", "first"),
    [("frame_{:010d}.jpg", 1), ("img_{:010d}.jpg", 0), ("frame_{:06d}.jpg", 1)],
)
def test_layouts(tmp_path, folder, name, first):
    """Frame 1 is the first picture in all of them: img_ files count from 0."""
    make_video(tmp_path / folder, 6, first=first, name=name)
    source = store(tmp_path).open(make_segment(1, 6))
    assert numbers_of(source.read([1, 4, 6])) == [1, 4, 6]


def test_roots_are_searched_in_order(tmp_path, caplog):
    make_video(tmp_path / "b" / "P01_01", 3)
    make_video(tmp_path / "a" / "P01" / "P01_01", 2)
    make_video(tmp_path / "b" / "P02_03", 4)
    (tmp_path / "a" / "P02" / "P02_03").mkdir(parents=True)  # a folder without frames
    frames = store(tmp_path / "none", tmp_path / "a", tmp_path / "b")
    segments = [make_segment(1, 2), make_segment(1, 4, "P02_03")]
    with caplog.at_level(logging.INFO):
        frames.check(segments * 2)
    assert f"1 video(s) in {tmp_path}/a/PARTICIPANT/VIDEO/frame_*.jpg" in caplog.text
    assert f"1 video(s) in {tmp_path}/b/VIDEO/frame_*.jpg" in caplog.text
    assert numbers_of(frames.open(segments[1]).read([4])) == [4]


def test_a_video_without_a_folder_names_the_roots(tmp_path):
    frames = store(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match=r"video P09_01 .*/a, .*/b.*DATA\.PATH_PREFIX"):
        frames.check([make_segment(video="P09_01")])


def test_each_video_is_looked_for_once(tmp_path, video_root):
    frames = store(tmp_path / "none", video_root)
    first = frames.open(make_segment(1, 10))
    video_root.rename(tmp_path / "none")
    video_root.symlink_to(tmp_path / "none")
    second = frames.open(make_segment(20, 30))
    assert first._folder is second._folder


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_frame_index_offset(video_root, offset):
    source = store(video_root, offset=offset).open(make_segment(5, 20))
    assert numbers_of(source.read([5, 9])) == [5 + offset, 9 + offset]


def test_numbers_beyond_the_video_give_its_ends_and_one_report(video_root, caplog):
    frames = store(video_root)
    with caplog.at_level(logging.WARNING):
        assert numbers_of(frames.open(make_segment(50, 80)).read([58, 60, 62, 64])) == [
            58,
            60,
            60,
            60,
        ]
        assert numbers_of(frames.open(make_segment(55, 90)).read([70])) == [60]
        assert numbers_of(frames.open(make_segment(-5, 2)).read([-4, 0, 1, 2])) == [1, 1, 1, 2]
    assert len(caplog.records) == 1
    assert "P01_01" in caplog.text


def test_a_segment_beyond_the_video_is_an_error(video_root):
    source = store(video_root).open(make_segment(61, 70))
    with pytest.raises(UserError, match=r"files 1 to 60, but segment P01_01_61.*again"):
        list(source.read([61]))


def test_a_frame_missing_inside_the_video_is_an_error(video_root):
    (video_root / "P01" / "P01_01" / "frame_0000000030.jpg").unlink()
    source = store(video_root).open(make_segment(20, 40))
    with pytest.raises(UserError, match=r"frame_0000000030\.jpg \(segment P01_01_20\) is missing"):
        list(source.read([28, 30]))


def test_files_of_a_list(video_root):
    files = sorted(str(path) for path in (video_root / "P01" / "P01_01").iterdir())[:10]
    source = ImageFiles(files, "segment 3", make_decoder("auto"))
    frames = list(source.read([-4, -2, 0, 3, 9, 11]))
    assert numbers_of(frames) == [1, 1, 1, 4, 10, 10]
    assert frames[0] is frames[2]
    Path(files[3]).unlink()
    with pytest.raises(UserError, match=r"frame_0000000004\.jpg \(segment segment 3\) is missing"):
        list(source.read([3]))
