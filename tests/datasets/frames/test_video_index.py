"""Frames of video files by presentation time, as a player shows them; odd files."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from slowfast.datasets.frames import video_index
from slowfast.datasets.frames.video_file import VideoFile, index_video
from slowfast.utils.errors import UserError
from tests.datasets.frames.tiny_videos import make_segment

SIZE = (48, 64)


def level(number: int) -> int:
    return 20 + 3 * number


def write(
    path: Path, times: Sequence[int], base: Fraction = Fraction(1, 30), *, gop: int = 12, b: int = 0
) -> Path:
    """Frame k is grey of level(k) at times[k] units of `base`, lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=30, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "bgr24"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b
        stream.time_base = stream.codec_context.time_base = base
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(
                np.full((*SIZE, 3), level(number), np.uint8), "bgr24"
            )
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def shown(path: Path, numbers: Sequence[int], fps: float | None) -> list[int]:
    """The frames that are read for numbers that count from 1."""
    source = VideoFile(index_video(path), make_segment(1, 9), first_number=1, number_fps=fps)
    return [(round(float(frame.mean())) - 20) // 3 for frame in source.read(numbers)]


@pytest.mark.parametrize("b", [0, 2])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate(tmp_path: Path, b: int, suffix: str) -> None:
    """20 frames at 60 a second, 20 at 10, and a gap: the frame shown at each number's time."""
    times = [10 * k for k in range(20)] + [200 + 60 * k for k in range(20)] + [2000, 2010]
    path = write(tmp_path / f"video.{suffix}", times, Fraction(1, 600), b=b)
    numbers = [1, 10, 20, 40, 60, 100, 190, 201, 202]
    wanted = [max(k for k, t in enumerate(times) if t <= 10 * (n - 1)) for n in numbers]
    assert shown(path, numbers, 60) == wanted
    assert shown(path, [1, 22, 42], None) == [0, 21, 41]


@pytest.mark.parametrize("fps", [24, 30, 50, 60])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_constant_rate_gives_every_frame_once(tmp_path: Path, fps: int, suffix: str) -> None:
    """Containers round times: to a millisecond in mkv. Number n is frame n - 1 all the same."""
    path = write(tmp_path / f"video.{suffix}", range(45), Fraction(1, fps))
    assert shown(path, range(1, 46), fps) == list(range(45))


def test_start_offset_is_taken_off(tmp_path: Path) -> None:
    path = write(tmp_path / "video.mkv", [90 + k for k in range(10)])
    assert shown(path, [1, 4], 30) == [0, 3]


def remuxed(source: Path, path: Path, change: Callable[[av.Packet, int], bool]) -> Path:
    """The packets of a file for which `change`, which may edit them, is true."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copied = new.add_stream_from_template(stream)
        frame = int(Fraction(1, 30) / stream.time_base)
        for packet in old.demux(stream):
            if packet.dts is not None and change(packet, frame):
                packet.stream = copied
                new.mux(packet)
    return path


def test_clip_cut_by_stream_copy(tmp_path: Path) -> None:
    """An edit list hides the key frame and five more frames before the cut."""

    def earlier(packet: av.Packet, frame: int) -> bool:
        packet.pts -= 6 * frame
        packet.dts -= 6 * frame
        return True

    long = write(tmp_path / "long.mp4", range(48), gop=24)
    path = remuxed(long, tmp_path / "cut.mp4", earlier)
    assert shown(path, [1, 2, 20, 30], 30) == [6, 7, 25, 35]


def test_rotation_of_the_track_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:, :20] = 220
    picture[:10] = 90
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=30, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "bgr24"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    matrix = content.find(b"tkhd") + 44
    turn = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, SIZE[0] << 16, 0, 0x40000000)
    path.write_bytes(content[:matrix] + turn + content[matrix + 36 :])
    (frame,) = VideoFile(index_video(path), make_segment(0, 2)).read([0])
    assert np.array_equal(frame, cv2.VideoCapture(str(path)).read()[1])


def no_packets(*_: object) -> None:
    raise AssertionError("all packets were read")


@pytest.mark.parametrize("b", [0, 3])
def test_index_in_the_header_is_enough(
    tmp_path: Path, b: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packets of an mp4 file are not read, whether frames refer forwards or not."""
    path = write(tmp_path / "video.mp4", range(30), b=b)
    monkeypatch.setattr(video_index, "times_of_packets", no_packets)
    assert shown(path, range(1, 31), None) == list(range(30))


def test_times_that_all_differ_from_decoding_times(tmp_path: Path) -> None:
    """Without frames that refer forwards, but presented three frames after decoding."""

    def later(packet: av.Packet, frame: int) -> bool:
        packet.pts += 3 * frame
        return True

    path = remuxed(write(tmp_path / "video.mp4", range(30)), tmp_path / "later.mp4", later)
    assert shown(path, range(1, 31), None) == list(range(30))
    assert shown(path, [1, 20], 30) == [0, 19]


def test_start_in_an_open_group_of_pictures(tmp_path: Path) -> None:
    """Frames that refer to data before the cut are left out, without decoding the whole file."""
    path = tmp_path / "video.mkv"
    options = {"x264-params": "open-gop=1:keyint=12:bframes=3:b-adapt=0:scenecut=0"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(48):
            picture = np.full((*SIZE, 3), level(number), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode())
    keys = []

    def from_second_key(packet: av.Packet, frame: int) -> bool:
        if packet.is_keyframe:
            keys.append(packet.pts)
        return len(keys) > 1

    cut = remuxed(path, tmp_path / "cut.mkv", from_second_key)
    with av.open(str(cut)) as container:
        packets = sum(packet.pts is not None for packet in container.demux(video=0))
    with av.open(str(cut)) as container:
        whole = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    index = index_video(cut)
    assert len(index.times) == len(whole) < packets
    read = VideoFile(index, make_segment(0, 9)).read(range(len(whole)))
    assert all(np.array_equal(one, other) for one, other in zip(read, whole, strict=True))


def test_size_that_changes_inside_a_file(tmp_path: Path) -> None:
    """Every picture has the size of the first."""
    parts = []
    for scale in (1, 2):
        parts.append(tmp_path / f"{scale}.ts")
        with av.open(str(parts[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.height, stream.width, stream.pix_fmt = (
                SIZE[0] * scale,
                SIZE[1] * scale,
                "yuv420p",
            )
            picture = np.full((stream.height, stream.width, 3), 100, np.uint8)
            for _ in range(5):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
            container.mux(stream.encode())
    path = tmp_path / "video.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = list(VideoFile(index_video(path), make_segment(0, 9)).read([0, 4, 5, 9]))
    assert [frame.shape for frame in frames] == [(*SIZE, 3)] * 4


@pytest.mark.parametrize("size", [16_000, 65_535])
def test_a_frame_of_any_size_is_not_believed(tmp_path: Path, size: int) -> None:
    """A picture of 40 bytes that claims gigabytes."""
    header = b"GIF89a" + struct.pack("<HH", size, size) + b"\x80\0\0" + bytes(6)
    frame = b"," + struct.pack("<HHHH", 0, 0, size, size) + b"\0\x02\x02\x44\x01\0;"
    path = tmp_path / "video.gif"
    path.write_bytes(header + frame)
    with pytest.raises(UserError, match=r"video\.gif"):
        index_video(path)


@pytest.mark.parametrize("b", [0, 2])
def test_broken_tail_is_left_out(tmp_path: Path, b: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "video.mkv"
    write(path, range(60), gop=10, b=b)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    index = index_video(path)
    assert 20 < len(index.times) < 60
    numbers = list(range(1, len(index.times) + 1))
    assert shown(path, numbers, None) == [n - 1 for n in numbers]


def write_noise(path: Path, params: str) -> Path:
    """40 noisy frames, so that x264 uses the frame types that `params` ask for."""
    draw = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"x264-params": params})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(40):
            noise = draw.normal(level(number), 8, (*SIZE, 3)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "bgr24")))
        container.mux(stream.encode())
    return path


def without_packets(path: Path, lost: range) -> Path:
    cut = path.with_stem("cut")
    with av.open(str(path)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.dts is not None and number not in lost:
                packet.stream = stream
                target.mux(packet)
    return cut


def assert_every_frame_is_read(path: Path, count: int) -> None:
    """Each frame, read on its own, is the one that a decode from the beginning gives."""
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    index = index_video(path)
    assert len(index.times) == len(decoded) == count
    source = VideoFile(index, make_segment(0, count - 1))
    for number, wanted in enumerate(decoded):
        (frame,) = source.read([number])
        assert np.array_equal(frame, wanted), number


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_file_without_its_first_key_frame(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_noise(tmp_path / f"whole.{suffix}", "keyint=10:bframes=2")
    assert_every_frame_is_read(whole, 40)
    with caplog.at_level(logging.WARNING):
        assert_every_frame_is_read(without_packets(whole, range(4)), 31)
    assert "its first 5 frames cannot be decoded without the key frame" in caplog.text


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_gradual_intra_refresh(tmp_path: Path, suffix: str) -> None:
    """A decoder that starts at a recovery point gives nothing until the refresh is complete."""
    path = write_noise(tmp_path / f"video.{suffix}", "intra-refresh=1:keyint=10")
    assert len(index_video(path).key_times) > 1
    assert_every_frame_is_read(path, 40)


def test_other_streams_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=30) for _ in range(2)]
        for stream, height in zip(streams, (48, 96), strict=True):
            stream.height, stream.width, stream.pix_fmt = height, 64, "yuv420p"
        for stream, height in zip(streams, (48, 96), strict=True):
            picture = np.zeros((height, 64, 3), np.uint8)
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
            container.mux(stream.encode())
    with caplog.at_level(logging.INFO, logger="slowfast"):
        index = index_video(path)
    assert "has 2 video streams: reading the first, 64x48" in caplog.text
    (frame,) = VideoFile(index, make_segment(0, 2)).read([0])
    assert frame.shape == (48, 64, 3)


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "other.mp4", range(5))
    path = tmp_path / "video.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(UserError, match=r"cannot read .*video.mp4 as a video"):
        index_video(path)


def test_real_files_of_every_kind(real: Path) -> None:
    """The number of frames and their pixels equal those of decoding the whole file."""
    names = (
        "exo/torchvision/RATRACE_wave_f_nm_np1_fr_goo_37.avi",
        "exo/torchvision/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
        "exo/mmaction2/S001C001P001R001A001_rgb.avi",
        "exo/mixkit_lavila/mixkit-pastry-chef-cutting-a-loaf-into-slices-43015-medium.gif",
        "exo/mmaction2/demo.mp4",
    )
    for name in names:
        path = real / "more" / name
        if not path.is_file():
            pytest.skip(f"no {path}")
        with av.open(str(path), metadata_errors="ignore") as container:
            whole = [f.to_ndarray(format="bgr24").tobytes() for f in container.decode(video=0)]
        index = index_video(path)
        assert len(index.times) == len(whole), name
        numbers = sorted(np.random.default_rng(0).integers(0, len(whole), 6).tolist())
        numbers = sorted(set(numbers))
        read = VideoFile(index, make_segment(0, 9)).read(numbers)
        for number, frame in zip(numbers, read, strict=True):
            assert frame.tobytes() == whole[number], (name, number)
