"""Folders of frames: numbering found from the files, faults, and errors about other files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.frames.video_folder import VideoFolder
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_segment


def files(folder: Path, numbers: range, name: str = "frame_{:010d}.jpg") -> Path:
    """Empty files under the names of frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / name.format(number)).touch()
    return folder


def store(root: Path) -> VideoStore:
    return VideoStore([str(root)], make_decoder("auto"))


@pytest.mark.parametrize(
    ("name", "numbers", "first"),
    [
        ("frame_{:010d}.jpg", range(1, 4), 1),
        ("frame_{:010d}.jpg", range(4), 0),
        ("img_{:010d}.jpg", range(4), 0),
        ("img_{:05d}.jpg", range(1, 4), 1),
        ("img_{:05d}.jpg", range(99_998, 100_002), 0),
        ("frame_{:04d}.jpg", range(1, 3), 1),
        ("{:05d}.jpg", range(1, 4), 1),
        ("{:06d}.jpg", range(4), 0),
        ("{:05d}.jpg", range(50, 54), 1),
    ],
)
def test_numbering_is_that_of_the_files(
    tmp_path: Path, name: str, numbers: range, first: int
) -> None:
    """Frame 1 is the first file; the existence of file 0 or file 1 decides the numbering."""
    folder = VideoFolder.find(files(tmp_path, numbers, name))
    assert folder is not None
    assert folder.numbering == first - 1
    assert folder.list_range() == (numbers[0], numbers[-1])
    assert Path(folder.file(numbers[-1])).exists()


@pytest.mark.parametrize(("numbers", "first"), [(range(1, 4), 1), (range(50, 53), 1)])
def test_files_called_after_their_folder(tmp_path: Path, numbers: range, first: int) -> None:
    """As in the published frames of Charades; special characters in a name are taken literally."""
    path = files(tmp_path / "a+b", numbers, "a+b-{:06d}.jpg")
    (path / "aab-000001.jpg").touch()
    folder = VideoFolder.find(path)
    assert folder is not None
    assert folder.numbering == first - 1
    assert folder.list_range() == (numbers[0], numbers[-1])
    assert folder.file(numbers[0]) == f"{path}/a+b-{numbers[0]:06d}.jpg"


def test_digits_grow_beyond_the_width(tmp_path: Path) -> None:
    """%05d gives 100000 after 99999, and both are of one pattern."""
    names = (0, 1, 99_999, 100_000, 100_001)
    for number in names:
        (tmp_path / f"img_{number:05d}.jpg").touch()
    folder = VideoFolder.find(tmp_path)
    assert folder is not None
    assert folder.numbers().tolist() == list(names)
    assert folder.file(100_001).endswith("/img_100001.jpg")


@pytest.mark.parametrize("order", [("frame_{:010d}.jpg", "img_{:05d}.jpg"), ("img_{:05d}.jpg",)])
def test_two_extractions_are_reported(
    tmp_path: Path, order: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    for name in (*order, "frame_{:010d}.jpg"):
        files(tmp_path, range(3), name)
    folder = VideoFolder.find(tmp_path)
    assert folder is not None
    assert (folder.prefix, folder.digits) == ("frame_", 10)
    assert "holds files of several extractions" in caplog.text


def test_a_beginning_in_the_middle_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = VideoFolder.find(files(tmp_path, range(7, 9)))
    assert folder is not None
    assert folder.numbering == 0
    assert "begins with file 7, so its numbering is not known" in caplog.text


def test_faults_of_a_folder(tmp_path: Path) -> None:
    files(tmp_path / "P01" / "P01_01", range(1, 101))
    files(tmp_path / "P01" / "P01_02", range(1, 101, 3))
    files(tmp_path / "P01" / "P01_03", range(1, 31))
    segments = [make_segment(1, 100, video=f"P01_0{number}") for number in (1, 2, 3, 4)]
    faults = list(store(tmp_path).faults(segments))
    assert len(faults) == 2
    assert faults[0].startswith("video P01_02: ")
    assert "lacks 66 of its files 1 to 100, only one in 3 exists: extract all frames" in faults[0]
    assert "ends with file 30, but 1 of 1 segments need files up to 100" in faults[1]


@pytest.mark.parametrize(
    ("place", "name", "said"),
    [
        ("P01/P01_01", "frame_{:010d}.JPG", "contains frame_0000000001.JPG, but frames are called"),
        ("P01/P01_01", "{:06d}.png", "contains 000001.png, but frames are called"),
        ("P01/P01_01", "frames.tar", "contains frames.tar: unpack it"),
        ("P01/P01_01", "notes.txt", "contains notes.txt, but no frames"),
        (
            "P01/P01_01/deeper",
            "frame_{:010d}.jpg",
            "contains the folder deeper: files such as frame_",
        ),
        ("P01", "P01_01.tar.gz", "P01_01.tar.gz exists: unpack it into"),
        ("P01", "P01_01.wmv", "P01_01.wmv exists, but is not a readable video file"),
    ],
)
def test_what_was_found_instead(tmp_path: Path, place: str, name: str, said: str) -> None:
    files(tmp_path / place, range(1, 3), name)
    with pytest.raises(UserError, match="has no frames: ") as caught:
        store(tmp_path).check([make_segment(1, 2)])
    assert said in str(caught.value)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "P01" / "P01_01").mkdir(parents=True)
    with pytest.raises(UserError, match="P01_01 exists, but is empty"):
        store(tmp_path).check([make_segment(1, 2)])


@pytest.mark.parametrize("name", ["P01_01", "P01"])
def test_links_to_themselves_end_in_one_line(tmp_path: Path, name: str) -> None:
    place = tmp_path / "P01" / "P01_01" if name == "P01_01" else tmp_path / "P01"
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(place.name)
    with pytest.raises(UserError, match=r"Too many levels|has no"):
        store(tmp_path).check([make_segment(1, 2)])


@pytest.mark.parametrize("video", ["x" * 300, "a\0b"])
def test_impossible_names_end_in_one_line(tmp_path: Path, video: str) -> None:
    with pytest.raises(UserError):
        store(tmp_path).check([make_segment(1, 2, video=video)])


def test_a_pipe_is_no_frame(tmp_path: Path) -> None:
    folder = files(tmp_path / "P01" / "P01_01", range(2, 4))
    os.mkfifo(folder / "frame_0000000001.jpg")
    with pytest.raises(UserError, match="it is not a regular file"):
        list(store(tmp_path).open(make_segment(1, 3)).read([1]))


@pytest.mark.parametrize("decoder", ["simplejpeg", "opencv"])
def test_decoders_agree_on_odd_files(decoder: str) -> None:
    """Scan parameters 0, 0, 0 change no pixel; surplus bytes may mean a damaged scan."""
    import cv2

    decode = make_decoder(decoder)
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    whole = cv2.imencode(".jpg", picture)[1].tobytes()
    scan = whole.index(b"\xff\xda")
    end = scan + 2 + int.from_bytes(whole[scan + 2 : scan + 4], "big")
    odd = whole[: end - 3] + bytes(3) + whole[end:]
    assert np.array_equal(decode(odd), decode(whole))
    assert np.array_equal(decode(whole + b"after the end"), decode(whole))
    zeroed = whole[: end + 400] + bytes(20) + whole[end + 420 :]
    for damaged in (zeroed, whole[:-2] + b"\0\x11\x22" * 20 + whole[-2:], whole[:-60] + whole[-2:]):
        with pytest.raises(ValueError, match=r"."):
            decode(damaged)


@pytest.mark.parametrize("decoder", ["simplejpeg", "opencv"])
@pytest.mark.parametrize("size", [(12_000, 12_000), (1, 60_000), (65_500, 65_500)])
def test_claimed_sizes_are_bounded(decoder: str, size: tuple[int, int]) -> None:
    import cv2

    data = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    header = data.index(b"\xff\xc0")
    for place, value in zip((header + 5, header + 7), size, strict=True):
        data[place : place + 2] = value.to_bytes(2, "big")
    with pytest.raises(ValueError, match="it claims"):
        make_decoder(decoder)(bytes(data))


def test_the_log_says_how_files_are_numbered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files(tmp_path / "P01" / "P01_01", range(4), "img_{:05d}.jpg")
    with caplog.at_level(logging.INFO, logger="slowfast"):
        store(tmp_path).check([make_segment(1, 2)])
    assert "img_*.jpg, numbered from 0" in caplog.text
