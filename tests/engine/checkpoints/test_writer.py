"""Checkpoints in the background: the wait of the caller, the files kept, a full disk."""

import errno
import os
import threading

import pytest
import torch

from slowfast.engine.checkpoints import writer as checkpoint_writer
from slowfast.engine.checkpoints.files import checkpoint_path, numbered_checkpoints
from slowfast.engine.checkpoints.owned import RECORD_NAME
from slowfast.engine.checkpoints.writer import CheckpointWriter
from slowfast.utils.errors import UserError


def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write(writer, folder, *places):
    for epochs, iteration in places:
        writer.write({"epoch": epochs}, checkpoint_path(folder, epochs, iteration))
    writer.wait()


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "kept"),
    [
        (0, 0, [(1, 0), (2, 0), (3, 0), (4, 0), (4, 7)]),
        (2, 0, [(3, 0), (4, 0), (4, 7)]),
        (1, 2, [(2, 0), (4, 0), (4, 7)]),
    ],
)
def test_which_files_stay(tmp_path, keep_last, keep_every, kept):
    writer = CheckpointWriter(str(tmp_path), keep_last, keep_every)
    best = checkpoint_path(tmp_path, "best")
    writer.write({}, best)
    write(writer, tmp_path, (1, 0), (1, 5), (2, 0), (2, 5), (2, 9), (3, 0), (4, 0), (4, 7))
    assert list(numbered_checkpoints(tmp_path)) == kept
    assert best.is_file()
    assert writer.newest == checkpoint_path(tmp_path, 4, 7)


@pytest.mark.parametrize("fails", [False, True])
def test_files_of_another_training_stay(tmp_path, monkeypatch, fails):
    """They stay until this run has written a numbered file, even after the best one or an error."""
    places = [(1, 0), (2, 0), (2, 5), (3, 0), (4, 0), (4, 5), (5, 0)]
    write(CheckpointWriter(str(tmp_path / "made"), 0, 0), tmp_path, *places)
    before = list(numbered_checkpoints(tmp_path))
    assert (2, 5) in before
    writer = CheckpointWriter(str(tmp_path), 2, 0)
    if fails:
        monkeypatch.setattr(os, "fsync", full)
        write(writer, tmp_path, (6, 0))
        monkeypatch.undo()
    else:
        writer.write({}, checkpoint_path(tmp_path, "best"))
        writer.wait()
    assert list(numbered_checkpoints(tmp_path)) == before


def test_a_later_start_in_the_folder_removes_its_own_files_alone(tmp_path):
    """Its files are numbered between those of an earlier run."""
    write(CheckpointWriter(str(tmp_path), 0, 0), tmp_path, (1, 0), (3, 0), (9, 0))
    writer = CheckpointWriter(str(tmp_path), 1, 0)
    write(writer, tmp_path, (2, 0), (4, 0))
    assert list(numbered_checkpoints(tmp_path)) == [(1, 0), (3, 0), (4, 0), (9, 0)]
    # A resumed run knows what the one before it has written.
    resumed = CheckpointWriter(str(tmp_path), 1, 0, newest=checkpoint_path(tmp_path, 4))
    write(resumed, tmp_path, (5, 0), (6, 0))
    assert list(numbered_checkpoints(tmp_path)) == [(1, 0), (3, 0), (6, 0), (9, 0)]


@pytest.mark.parametrize("record", [None, b"", b"[1]", b'{"a": 3}', "fifo"])
def test_without_a_record_the_resumed_file_alone_is_known(tmp_path, record):
    """As in a folder of an older version, or after disk damage."""
    write(CheckpointWriter(str(tmp_path), 0, 0), tmp_path, (1, 0), (2, 0))
    path = tmp_path / RECORD_NAME
    path.unlink()
    if record == "fifo":
        os.mkfifo(path)
    elif record is not None:
        path.write_bytes(record)
    resumed = CheckpointWriter(str(tmp_path), 1, 0, newest=checkpoint_path(tmp_path, 2))
    write(resumed, tmp_path, (3, 0), (4, 0))
    assert list(numbered_checkpoints(tmp_path)) == [(1, 0), (4, 0)]


def test_nothing_gets_its_name_in_a_folder_that_was_taken_over(tmp_path):
    def taken():
        raise UserError("taken over")

    writer = CheckpointWriter(str(tmp_path), 0, 0, check=taken)
    writer.write({}, checkpoint_path(tmp_path, 1))
    with pytest.raises(UserError, match="taken over"):
        writer.wait()
    assert list(numbered_checkpoints(tmp_path)) == []


def test_the_last_two_files_inside_an_epoch_stay(tmp_path):
    writer = CheckpointWriter(str(tmp_path), 0, 0)
    write(writer, tmp_path, (1, 0), (1, 2), (1, 4), (1, 6))
    assert list(numbered_checkpoints(tmp_path)) == [(1, 0), (1, 4), (1, 6)]


def test_the_caller_waits_for_the_copy_but_not_for_the_disk(tmp_path, monkeypatch):
    """A step may change the weights while the file is being written."""
    disk = threading.Event()
    write_file = checkpoint_writer.write_checkpoint

    def slow(path, content, check):
        assert disk.wait(60)
        write_file(path, content, check)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", slow)
    writer = CheckpointWriter(str(tmp_path), 0, 0)
    weight = torch.zeros(3)
    path = checkpoint_path(tmp_path, 1)
    writer.write({"model_state": {"w": weight}, "list": [weight]}, path)
    assert not path.exists()
    weight += 1
    disk.set()
    writer.wait()
    content = torch.load(path, weights_only=True)
    assert torch.equal(content["model_state"]["w"], torch.zeros(3))
    assert torch.equal(content["list"][0], torch.zeros(3))


def test_a_full_disk_is_logged_and_changes_no_earlier_file(tmp_path, monkeypatch, caplog):
    writer = CheckpointWriter(str(tmp_path), 1, 0)
    write(writer, tmp_path, (1, 0))

    monkeypatch.setattr(os, "fsync", full)
    write(writer, tmp_path, (2, 0))
    monkeypatch.undo()
    (message,) = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert "checkpoint_epoch_00002.pyth COULD NOT BE WRITTEN" in message
    assert "No space left" in message
    assert list(numbered_checkpoints(tmp_path)) == [(1, 0)]
    assert torch.load(checkpoint_path(tmp_path, 1), weights_only=True) == {"epoch": 1}
    assert writer.newest == checkpoint_path(tmp_path, 1)
    assert "No space left" in writer.failed["numbered"]
    write(writer, tmp_path, (3, 0))
    assert writer.failed == {}


def test_what_is_no_fault_of_the_disk_is_not_swallowed(tmp_path):
    writer = CheckpointWriter(str(tmp_path), 0, 0)
    writer.write({"unpicklable": threading.Lock()}, checkpoint_path(tmp_path, 1))
    with pytest.raises(TypeError, match="lock"):
        writer.wait()
