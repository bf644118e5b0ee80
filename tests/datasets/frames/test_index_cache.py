"""Indices of videos that are kept for later runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slowfast.datasets.frames import video_index
from slowfast.datasets.frames.video_file import index_video
from tests.datasets.frames.test_video_index import no_packets, write


def test_index_is_kept_while_the_file_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "video.mkv", range(20), b=2)
    index_video(path)
    assert not (tmp_path / "cache").exists(), "the file may still be being written"
    os.utime(path, (1e9, 1e9))
    index = index_video(path)
    (stored,) = (tmp_path / "cache").rglob("*.npz")
    with monkeypatch.context() as patch:
        patch.setattr(video_index, "times_of_packets", no_packets)
        assert index_video(path) == index
    content = stored.read_bytes()
    stored.write_bytes(content[:100])
    assert index_video(path) == index
    assert stored.read_bytes() == content, "a damaged index is written again"
    os.utime(path, (1e9 + 1, 1e9 + 1))
    write(path, range(10))
    assert len(index_video(path).times) == 10


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("SUML_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "video.mkv", range(5))
    os.utime(path, (1e9, 1e9))
    assert len(index_video(path).times) == 5
