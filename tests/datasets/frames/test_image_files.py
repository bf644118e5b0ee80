import logging
import stat
from pathlib import Path

import cv2
import numpy as np
import pytest

from slowfast.datasets.frames import image_files as frames_module
from slowfast.datasets.frames.bad_frames import BadFrames
from slowfast.datasets.frames.image_files import ImageFiles, make_decoder, read_whole
from slowfast.datasets.frames.retries import Retries
from slowfast.datasets.frames.store import VideoStore
from slowfast.datasets.loading.loader import BatchLoader
from slowfast.datasets.loading.sampler import GlobalBatchSampler
from slowfast.utils.errors import UserError
from slowfast.utils.logging import setup_logging
from tests.datasets.frames.tiny_videos import make_segment, make_video, picture

DECODERS = ["simplejpeg", "opencv"]


def store(*roots, offset=0, decoder="auto", **options):
    decode = make_decoder(decoder)
    return VideoStore([str(root) for root in roots], decode, frame_offset=offset, **options)


def nearest_store(root):
    return store(root, bad_frames=BadFrames("nearest", "some train"))


def numbers_of(frames):
    """Numbers of the pictures that were read (see `picture`); JPEG moves a mean by under 0.5."""
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
def test_a_buffer_of_any_size_gives_the_same_picture(video_root, decoder):
    data = next((video_root / "P01" / "P01_01").iterdir()).read_bytes()
    decode = make_decoder(decoder)
    expected = decode(data)
    height, width, _ = expected.shape
    for size in ((height, width), (height - 1, width), (height + 2, width + 5), (1, 1)):
        buffer = np.full((*size, 3), 77, np.uint8)
        assert np.array_equal(decode(data, buffer), expected)
    with pytest.raises(ValueError):
        decode(data[: len(data) // 2], expected.copy())


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
    decode, decoded = make_decoder("auto"), []

    def counted(data, buffer=None):
        decoded.append(data)
        return decode(data, buffer)

    source = ImageFiles(files, make_segment(0, 9, name="segment 3"), counted)
    assert numbers_of(source.read([-4, -2, 0, 3, 9, 11])) == [1, 1, 1, 4, 10, 10]
    assert len(decoded) == 3
    Path(files[3]).unlink()
    with pytest.raises(UserError, match=r"frame_0000000004\.jpg \(segment segment 3\) is missing"):
        list(source.read([3]))


def break_files(video_root, numbers):
    """Damage files in turn: empty, half of the content, other content."""
    folder = video_root / "P01" / "P01_01"
    for turn, number in enumerate(numbers):
        file = folder / f"frame_{number:010d}.jpg"
        whole = file.read_bytes()
        if turn % 3 == 0:
            file.unlink()
        else:
            file.write_bytes(whole[: len(whole) // 2] if turn % 3 == 1 else b"no picture")


class TestNearest:
    @pytest.mark.parametrize(
        ("broken", "wanted", "shown"),
        [
            ([20], [19, 20, 21], [19, 19, 21]),
            ([20, 19], [20, 22], [21, 22]),
            ([20, 19, 21], [18, 20], [18, 18]),
            ([10, 11, 12], [10, 11, 12], [13, 13, 13]),
            ([30, 29], [29, 30], [28, 28]),
        ],
    )
    def test_frame_of_the_segment(self, video_root, broken, wanted, shown):
        break_files(video_root, broken)
        source = nearest_store(video_root).open(make_segment(10, 30))
        assert numbers_of(source.read(wanted)) == shown
        assert numbers_of(source.read(wanted)) == shown

    def test_depends_on_the_segment_not_on_what_was_read_before(self, video_root):
        break_files(video_root, [20])
        frames = nearest_store(video_root)
        assert numbers_of(frames.open(make_segment(10, 30)).read([20])) == [19]
        assert numbers_of(frames.open(make_segment(20, 30)).read([20])) == [21]
        assert numbers_of(frames.open(make_segment(10, 30)).read([20])) == [19]

    def test_at_the_ends_of_the_video(self, video_root):
        break_files(video_root, [59, 1])
        frames = nearest_store(video_root)
        assert numbers_of(frames.open(make_segment(50, 80)).read([58, 59, 62])) == [58, 58, 60]
        break_files(video_root, [2])
        assert numbers_of(frames.open(make_segment(-3, 6)).read([-2, 3])) == [3, 3]

    def test_of_a_list_of_files(self, video_root):
        files = sorted(str(path) for path in (video_root / "P01" / "P01_01").iterdir())[:10]
        break_files(video_root, [1, 2, 6])
        bad_frames = BadFrames("nearest")
        segment = make_segment(1, 6)
        source = ImageFiles(files, segment, make_decoder("auto"), bad_frames=bad_frames)
        assert numbers_of(source.read([0, 1, 5])) == [3, 3, 5]

    def test_each_file_is_named_once_and_all_are_counted(self, video_root, caplog):
        break_files(video_root, [20, 40])
        frames = nearest_store(video_root)
        for segment in (make_segment(10, 30), make_segment(20, 45), make_segment(10, 30)):
            list(frames.open(segment).read([20, 25, 28]))
        list(frames.open(make_segment(20, 45)).read([40]))
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 2
        assert "frame_0000000020.jpg (segment P01_01_10) is missing" in messages[0]
        assert messages[0].endswith("uses " + frames.open(make_segment()).file(19))
        assert "frame_0000000040.jpg (segment P01_01_20) is not a readable JPEG" in messages[1]
        assert frames.bad_frames.replaced == 4
        caplog.clear()
        frames.bad_frames.log_new()
        frames.bad_frames.log_new()
        (record,) = caplog.records
        assert "4 frame(s) of some train were replaced (4 so far)" in record.getMessage()

    def test_a_segment_without_any_readable_frame_is_an_error(self, video_root):
        break_files(video_root, [20, 21, 22])
        source = nearest_store(video_root).open(make_segment(20, 22))
        message = r"no frame of the segment can be read; .*frame_0000000021.jpg \(segment P01_01_20"
        with pytest.raises(UserError, match=message):
            list(source.read([21]))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_in_workers(self, make_dataset, video_root, tmp_path, workers):
        """The clips do not depend on the number of workers; their log and counts arrive."""
        setup_logging(tmp_path)
        segments = [make_segment(start, start + 14) for start in (1, 5, 9, 13)]

        def batches(workers):
            frames = nearest_store(video_root)
            dataset = make_dataset(segments, "val", frames=frames)
            sampler = GlobalBatchSampler(4, 2, shuffle=False)
            loader = BatchLoader(dataset, sampler, num_workers=workers)
            found = [batch.frames.clone() for batch in loader]
            loader.close()
            return found, frames.bad_frames

        whole, _ = batches(0)
        break_files(video_root, [9, 11])
        wanted, alone = batches(0)
        found, counted = batches(workers)
        assert all(map(lambda a, b: a.equal(b), found, wanted))
        assert not all(map(lambda a, b: a.equal(b), found, whole))
        assert counted.replaced == alone.replaced > 0
        log = (tmp_path / "log.txt").read_text().splitlines()
        assert any("frame_0000000011.jpg" in line for line in log)
        assert f"{counted.replaced} frame(s) of some train were replaced" in log[-1]


class FailingRead:
    """File read that fails a number of times first."""

    def __init__(self, *errors):
        self._errors = list(errors)
        self.calls = 0

    def __call__(self, path):
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return read_whole(path)


class TestRetries:
    def retried(self, monkeypatch, video_root, read, count):
        """Frame 3 with an injected `read`, and the pauses between its attempts."""
        pauses = []
        monkeypatch.setattr(frames_module, "read_whole", read)
        frames = store(video_root, retries=Retries(count, pauses.append))
        return frames.open(make_segment()).read([3]), pauses

    def test_pauses_grow(self, monkeypatch, video_root, caplog):
        read = FailingRead(OSError(5, "Input/output error"), FileNotFoundError(2, "No such file"))
        frames, pauses = self.retried(monkeypatch, video_root, read, 3)
        assert numbers_of(frames) == [3]
        assert pauses == [0.1, 0.2]
        assert "frame_0000000003.jpg cannot be read (Input/output error); attempt 2" in caplog.text

    def test_are_bounded(self, monkeypatch, video_root):
        read = FailingRead(*[OSError(116, "Stale file handle")] * 10)
        frames, pauses = self.retried(monkeypatch, video_root, read, 8)
        with pytest.raises(UserError, match=r"frame_0000000003\.jpg .*Stale file handle"):
            list(frames)
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        assert read.calls == 9

    @pytest.mark.parametrize("error", [OSError(5, "Input/output error"), FileNotFoundError()])
    def test_none_unless_asked_for(self, monkeypatch, video_root, error):
        frames, pauses = self.retried(monkeypatch, video_root, FailingRead(error, error), 0)
        with pytest.raises(UserError, match=r"frame_0000000003\.jpg \(segment P01_01_1\)"):
            list(frames)
        assert pauses == []

    def test_a_short_read_is_repeated_and_a_broken_file_is_not(self, monkeypatch, video_root):
        real_size = frames_module.os.fstat
        sizes = iter([10**9])

        class Longer:
            st_size = 10**9
            st_mode = stat.S_IFREG

        def fstat(descriptor):
            return Longer if next(sizes, None) else real_size(descriptor)

        monkeypatch.setattr(frames_module.os, "fstat", fstat)
        pauses = []
        frames = store(video_root, retries=Retries(2, pauses.append)).open(make_segment())
        assert numbers_of(frames.read([3])) == [3]
        assert pauses == [0.1]
        break_files(video_root, [50, 3])
        with pytest.raises(UserError, match="not a readable JPEG"):
            list(frames.read([3]))
        assert pauses == [0.1]

    def test_a_file_that_was_given_up_is_not_waited_for_again(self, video_root):
        break_files(video_root, [20])
        pauses = []
        retries = Retries(2, pauses.append)
        frames = store(video_root, retries=retries, bad_frames=BadFrames("nearest"))
        for _ in range(3):
            assert numbers_of(frames.open(make_segment(10, 30)).read([20])) == [19]
        assert pauses == [0.1, 0.2]
