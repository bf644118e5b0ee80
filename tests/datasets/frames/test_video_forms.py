"""One video in every supported form gives the same frames."""

from __future__ import annotations

import os
import pickle
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.missing import missing_collected
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.frames.tar_folder import TarFolder
from slowfast.datasets.types import Segment
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_segment, make_video, picture

FRAMES, FPS = 72, 24
SEGMENTS = [make_segment(1, 30), make_segment(20, 50), make_segment(45, 72)]
# Inside, across the chunks' limits, and beyond the ends.
NUMBERS = {1: [1, 2, 17, 30], 20: [20, 24, 25, 48, 49, 50], 45: [45, 48, 49, 72]}


def write_video(path: Path, first: int, last: int) -> None:
    """Frames first to last, at 24 per second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        # Lossless, so that levels are exact.
        stream = container.add_stream("libx264rgb", rate=FPS, options={"qp": "0", "g": "10"})
        stream.height, stream.width = picture(1).shape[:2]
        stream.pix_fmt = "bgr24"
        for number in range(first, last + 1):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def folder(root: Path) -> None:
    make_video(root / "P01" / "P01_01", FRAMES)


def archive(root: Path) -> None:
    made = make_video(root / "unpacked", FRAMES)
    (root / "P01").mkdir()
    with tarfile.open(root / "P01" / "P01_01.tar", "w") as tar:
        tar.add(made, arcname=".")


def archive_of_own_names(root: Path) -> None:
    """As Charades calls its files."""
    made = make_video(root / "unpacked", FRAMES, name="P01_01-{:06d}.jpg")
    with tarfile.open(root / "P01_01.tar", "w") as tar:
        tar.add(made, arcname="P01_01")


def whole(root: Path) -> None:
    write_video(root / "P01" / "videos" / "P01_01.MP4", 1, FRAMES)


def chunks(root: Path) -> None:
    for second in range(3):
        path = root / "P01" / "P01_01.MP4" / f"{second}.MP4"
        write_video(path, 1 + FPS * second, FPS * (second + 1))


def trimmed(root: Path, folder: str = "P01") -> None:
    for segment in SEGMENTS:
        path = root / folder / f"{segment.segment_id}.mp4"
        write_video(path, segment.start_frame, segment.stop_frame)


def trimmed_by_video(root: Path) -> None:
    trimmed(root, "P01_01")


FORMS = {
    form.__name__: form
    for form in (folder, archive, archive_of_own_names, whole, chunks, trimmed, trimmed_by_video)
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))


def fps(video: str) -> float:
    """The rate of the frame numbers of every video."""
    return float(FPS)


def store(root: Path, **options: object) -> VideoStore:
    decode = make_decoder("auto")
    return VideoStore([str(root)], decode, number_fps=fps, **options)  # type: ignore[arg-type]


def numbers_read(frames: VideoStore, segment: Segment, numbers: list[int]) -> list[int]:
    """Frame numbers read from the pictures; coding moves a mean by under half a level."""
    offset = picture(1).mean() - 1
    read = frames.open(segment).read(numbers)
    return [round(float(frame.mean() - offset)) for frame in read]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_frames(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "root")
    frames = store(tmp_path / "root")
    frames.check(SEGMENTS)
    assert list(frames.faults(SEGMENTS)) == []
    for segment in SEGMENTS:
        numbers = NUMBERS[segment.start_frame]
        assert numbers_read(frames, segment, numbers) == numbers
    # As a data worker gets it.
    again = pickle.loads(pickle.dumps(frames))
    assert numbers_read(again, SEGMENTS[1], [20, 50]) == [20, 50]


def test_forms_are_mixed_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "root"
    trimmed(root)
    make_video(root / "P02" / "P02_01", FRAMES)
    segments = [*SEGMENTS, make_segment(1, 30, video="P02_01")]
    frames = store(root)
    with caplog.at_level("INFO", logger="slowfast"):
        frames.check(segments)
    assert "frames of 1 video(s) in" in caplog.text
    assert "SEGMENT.mp4" in caplog.text
    assert numbers_read(frames, segments[-1], [3]) == [3]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_missing_clip_is_named(tmp_path: Path, lost: int) -> None:
    """Wherever it is in the list: the others of its video are found."""
    trimmed(tmp_path / "root")
    (tmp_path / "root/P01" / f"{SEGMENTS[lost].segment_id}.mp4").unlink()
    with pytest.raises(UserError, match=f"segment {SEGMENTS[lost].segment_id} has no clip"):
        store(tmp_path / "root").check(SEGMENTS)
    with missing_collected() as missing:
        store(tmp_path / "root").check(SEGMENTS)
    assert [videos.names for videos in missing] == [[SEGMENTS[lost].segment_id]]


def test_pixels_of_a_tar_are_those_of_its_files(tmp_path: Path) -> None:
    archive(tmp_path / "a")
    folder(tmp_path / "b")
    for numbers in ([1, 45, 72], [0, 73]):
        pair = [
            [frame.copy() for frame in store(root).open(make_segment(1, 72)).read(numbers)]
            for root in (tmp_path / "a", tmp_path / "b")
        ]
        assert all(np.array_equal(one, other) for one, other in zip(*pair, strict=True))


def test_index_of_a_tar_is_kept_and_follows_the_file(tmp_path: Path) -> None:
    archive(tmp_path / "root")
    path = tmp_path / "root/P01/P01_01.tar"
    os.utime(path, (1e9, 1e9))  # one that has just changed is not cached
    assert TarFolder.find(path) is not None
    (index,) = (tmp_path / "cache").rglob("*.npz")
    before = index.read_bytes()
    index.write_bytes(b"damaged")
    assert TarFolder.find(path) is not None
    assert len(index.read_bytes()) == len(before)
    shorter = make_video(tmp_path / "other", 10)
    with tarfile.open(path, "w") as tar:
        tar.add(shorter, arcname="frames")
    found = TarFolder.find(path)
    assert found is not None
    assert found.numbers.tolist() == list(range(1, 11))


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_tar_cut_short_names_the_member(tmp_path: Path, kept: float) -> None:
    archive(tmp_path / "root")
    path = tmp_path / "root/P01/P01_01.tar"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=r"P01_01.tar is .*frame_00000000\d\d.jpg"):
        store(tmp_path / "root").check(SEGMENTS)


def test_other_tars_are_refused(tmp_path: Path) -> None:
    (tmp_path / "P01").mkdir()
    path = tmp_path / "P01" / "P01_01.tar"
    note = tmp_path / "note.txt"
    note.write_text("no frames")
    with tarfile.open(path, "w") as tar:
        tar.add(note, arcname="note.txt")
        tar.add(note, arcname="P01_02/P01_02-000001.jpg")
    with pytest.raises(UserError, match="holds no frames"):
        store(tmp_path).check(SEGMENTS)
    with tarfile.open(path, "w:gz") as compressed:
        compressed.add(note, arcname="note.txt")
    with pytest.raises(UserError, match="not a valid tar"):
        store(tmp_path).check(SEGMENTS)


def test_a_gap_in_a_tar_follows_the_policy(tmp_path: Path) -> None:
    made = make_video(tmp_path / "unpacked", 30)
    (made / "frame_0000000010.jpg").unlink()
    (tmp_path / "root/P01").mkdir(parents=True)
    with tarfile.open(tmp_path / "root/P01/P01_01.tar", "w") as tar:
        tar.add(made, arcname=".")
    with pytest.raises(UserError, match=r"file 10 .* is missing"):
        numbers_read(store(tmp_path / "root"), SEGMENTS[0], [10])
    nearest = store(tmp_path / "root", bad_frames=BadFrames("nearest"))
    assert numbers_read(nearest, SEGMENTS[0], [10]) == [9]
    assert any("lacks 1 of its files 1 to 30" in f for f in nearest.faults(SEGMENTS[:1]))
