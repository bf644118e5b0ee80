"""A test that was killed resumes where it stopped and ends in the same bits."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from slowfast.engine import tester
from slowfast.engine.tester import partial_folder
from slowfast.engine.testing import shards
from slowfast.evaluation.predictions import read_predictions
from tests.distributed.processes import forkserver, run_in_processes
from tests.engine.tiny_run import SEGMENTS, make_home, run_test, tiny_run_cfg


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def whole(home: Path) -> Path:
    """OUTPUT_DIR of an uninterrupted test in one process."""
    cfg = tiny_run_cfg(home, "whole")
    run_test(cfg)
    return Path(cfg.OUTPUT_DIR)


def _scored_then_killed(home: Path, output: str, count: int) -> None:
    """The test in a process that kills itself before segment number `count`."""
    scored = []

    class Deadly(tester.SegmentScorer):
        def __call__(self, segment):
            if len(scored) == count:
                os.kill(os.getpid(), signal.SIGKILL)
            scored.append(segment.index)
            return super().__call__(segment)

    tester.SegmentScorer = Deadly  # type: ignore[misc]
    run_test(tiny_run_cfg(home, output))


def _killed(home: Path, output: str, count: int) -> Path:
    process = forkserver().Process(target=_scored_then_killed, args=(home, output, count))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return partial_folder(tiny_run_cfg(home, output))


def _rest(home: str, output: str) -> list[int]:
    """The test, and which segments this process scored."""
    scored: list[int] = []

    class Counting(tester.SegmentScorer):
        def __call__(self, segment):
            scored.append(segment.index)
            return super().__call__(segment)

    before = tester.SegmentScorer
    tester.SegmentScorer = Counting  # type: ignore[misc]
    try:
        run_test(tiny_run_cfg(Path(home), output))
    finally:
        tester.SegmentScorer = before  # type: ignore[misc]
    return scored


def _same_files(first: Path, second: Path) -> None:
    for name in ("results.json", "predictions.pkl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_test_goes_on(home: Path, whole: Path, processes: int) -> None:
    output = f"killed{processes}"
    folder = _killed(home, output, 3)
    assert not (home / output / "results.json").exists()
    if processes == 1:
        scored = [_rest(str(home), output)]
    else:
        scored = run_in_processes(processes, _rest, str(home), output)
    assert sorted(index for part in scored for index in part) == [3, 4, 5, 6]
    _same_files(home / output, whole)
    assert not folder.exists()


def test_an_error_keeps_what_is_finished(
    home: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collected records are written on exit, however long the period."""
    cfg = tiny_run_cfg(home, "failed", TEST__PARTIAL_SEC=3600.0)
    before = tester.SegmentScorer.__call__

    def fail(self, segment):
        if segment.index == 5:
            raise RuntimeError("out of memory")
        return before(self, segment)

    with monkeypatch.context() as patch:
        patch.setattr(tester.SegmentScorer, "__call__", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            run_test(cfg)
    assert len(list(partial_folder(cfg).iterdir())) == 1
    assert _rest(str(home), "failed") == [5, 6]
    _same_files(home / "failed", whole)


def test_what_belongs_to_another_test_is_not_used(
    home: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other weights, other views, other segments; a truncated file; a leftover of a writer."""
    left = _killed(home, "stale", 2)
    kept = home / "kept"
    shutil.copytree(left, kept)
    lists = home / "lists" / "EPIC_100_validation.csv"
    text = lists.read_text()
    cases = (
        ({"TEST__CHECKPOINT_FILE_PATH": str(home / "other.pyth")}, "other weights"),
        ({"TEST__NUM_ENSEMBLE_VIEWS": 1}, "TEST.NUM_ENSEMBLE_VIEWS 2 instead of 1"),
        ({"TEST__NO_ACT": True}, "joined"),
    )
    _change_a_weight(home)
    for number, (changes, reason) in enumerate(cases):
        cfg = tiny_run_cfg(home, f"other{number}", **changes)
        shutil.copytree(kept, partial_folder(cfg))
        caplog.clear()
        run_test(cfg)
        assert "are of another test" in caplog.text
        assert reason in caplog.text
        assert "finished segments in" not in caplog.text
    try:
        lists.write_text(text.replace(",0,0,3,44,", ",0,0,3,45,"))
        cfg = tiny_run_cfg(home, "other_segments")
        shutil.copytree(kept, partial_folder(cfg))
        caplog.clear()
        run_test(cfg)
        assert "other segments" in caplog.text
    finally:
        lists.write_text(text)
    first = sorted(left.iterdir())[0]
    first.write_bytes(first.read_bytes()[:100])
    (left / ".part-000-000-00009.npz.77").write_bytes(b"half")
    assert _rest(str(home), "stale") == [0, *range(2, len(SEGMENTS))]
    assert "its segments are scored again" in caplog.text
    _same_files(home / "stale", whole)
    assert not left.exists()


def _change_a_weight(home: Path) -> None:
    import torch

    content = torch.load(home / "checkpoint.pyth", weights_only=True)
    content["model_state"]["headepic100.projections.0.bias"][2] += 1e-3
    torch.save(content, home / "other.pyth")


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    records = {
        index: {"fixed": rng.random(3), "views": rng.random((index + 1, 2), np.float32)}
        for index in (4, 0, 2)
    }
    writer = shards.ShardWriter(
        tmp_path, {"a": 1}, run=0, rank=0, period_sec=3600, ragged=("views",)
    )
    for index, record in records.items():
        writer.add(index, record)
    assert not list(tmp_path.iterdir())
    writer.flush()
    found = shards.find(tmp_path, {"a": 1})
    assert (found.done, found.next_run, found.stale) == ({0, 2, 4}, 1, "")
    back = dict(shards.read_records(found.paths))
    assert list(back) == list(records)
    for index, record in records.items():
        for name, array in record.items():
            assert back[index][name].dtype == array.dtype
            np.testing.assert_array_equal(back[index][name], array)
    other = shards.find(tmp_path, {"a": 2})
    assert (other.done, other.stale) == (set(), "a 1 instead of 2")


def test_a_damaged_file_counts_as_absent(tmp_path: Path) -> None:
    """Whichever array is damaged, even if the checksum of the zip is correct."""
    writer = shards.ShardWriter(tmp_path, {"a": 1}, run=0, rank=0, period_sec=3600)
    writer.add(3, {"verb": np.ones(4), "noun": np.ones(2)})
    writer.flush()
    (path,) = tmp_path.glob("part-*.npz")
    with np.load(path) as content:
        arrays = dict(content)
    for changed in ({"noun": np.full(2, 1.5)[None]}, {"noun": None}, {"index": np.array([4])}):
        kept = {name: array for name, array in {**arrays, **changed}.items() if array is not None}
        np.savez(path, **kept)
        found = shards.find(tmp_path, {"a": 1})
        assert (found.done, found.others, found.stale) == (set(), [path], "")
        assert str(path) in found.damage


def test_files_of_version_1_are_read(tmp_path: Path) -> None:
    header = np.array(json.dumps({"version": 1, "key": {"a": 1}}))
    path = tmp_path / "part-000-000-00000.npz"
    np.savez(path, header=header, index=np.array([3]), verb=np.ones((1, 4)))
    assert shards.find(tmp_path, {"a": 1}).done == {3}
    np.savez(path, header=header, index=np.array([3]), verb=np.full((1, 4), np.nan))
    assert "verb is not finite" in shards.find(tmp_path, {"a": 1}).damage


def test_predictions_hold_every_segment_once(whole: Path) -> None:
    names = read_predictions(whole / "predictions.pkl").narration_id.tolist()
    assert names == [f"{video}_{number}" for number, (video, *_) in enumerate(SEGMENTS)]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="slowfast")


def test_parts_that_are_no_files_are_not_opened(tmp_path: Path) -> None:
    pipe, folder = (tmp_path / f"part-000-000-0000{number}.npz" for number in range(2))
    os.mkfifo(pipe)
    folder.mkdir()
    found = shards.find(tmp_path, {})
    assert found.others == [pipe, folder]
    assert "is a named pipe (FIFO)" in found.damage
    shards.tidy(tmp_path, found)
    assert list(tmp_path.iterdir()) == [folder]
