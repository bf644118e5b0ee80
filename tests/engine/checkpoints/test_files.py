"""A save is complete or leaves the earlier file; any damage is detected from the content."""

import errno
import hashlib
import io
import os
import resource
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from slowfast.engine.checkpoints import files as checkpoint_files
from slowfast.engine.checkpoints.files import damage, write_checkpoint

OLD = {"epoch": 0, "model_state": {"w": torch.arange(6.0)}}
NEW = {"epoch": 1, "model_state": {"w": torch.arange(6.0) + 10, "b": torch.ones(3)}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole checkpoint, the earlier one of the tests below."""
    path = tmp_path / "checkpoints" / "checkpoint_best.pyth"
    write_checkpoint(path, OLD)
    return path


def _epoch(path: Path) -> int:
    assert damage(path) == ""
    return int(torch.load(path, weights_only=True)["epoch"])


def _names(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir())


def test_torch_reads_it_and_the_digest_is_in_the_comment(path: Path) -> None:
    for mapped in (False, True):
        content = torch.load(path, weights_only=True, mmap=mapped)
        assert content["epoch"] == 0
        assert torch.equal(content["model_state"]["w"], torch.arange(6.0))
    comment = zipfile.ZipFile(path).comment
    data = path.read_bytes()
    as_saved = data[: -len(comment) - 2] + b"\0\0"
    assert comment == b"sha256:" + hashlib.sha256(as_saved).hexdigest().encode()
    assert torch.load(io.BytesIO(as_saved), weights_only=True)["epoch"] == 0


def test_a_file_without_digest_is_judged_by_its_checksums(tmp_path: Path) -> None:
    path = tmp_path / "published.pyth"
    torch.save(NEW, path)
    assert damage(path) == ""
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(3).numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert "damaged" in damage(path)


def test_every_cut_is_seen(path: Path) -> None:
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert damage(path), length
    path.write_bytes(data + b"\0")
    assert damage(path)


def test_every_flipped_bit_is_seen(path: Path) -> None:
    data = path.read_bytes()
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert damage(path), position


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"PK\x03\x04", b"epoch: 3\n"])
def test_what_is_no_checkpoint_is_seen(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    assert damage(path)


def test_a_file_that_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    assert "cannot be read" in damage(tmp_path)
    assert "cannot be read" in damage(tmp_path / "none.pyth")


def _in_child(action: Callable[[], None]) -> int:
    """Run `action` in a forked process; the status it ended with, as os.waitpid gives it."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def _bytes_written(path: Path) -> int:
    """Number of bytes of a save of NEW."""
    probe = path.parent / "probe.pyth"
    write_checkpoint(probe, NEW)
    size = probe.stat().st_size
    probe.unlink()
    return size


def test_killed_at_any_byte_the_earlier_checkpoint_loads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = _bytes_written(path) - checkpoint_files._COMMENT_LENGTH
    write = checkpoint_files._HashingWriter.write

    for limit in range(0, size, size // 40):

        def killing(
            writer: checkpoint_files._HashingWriter, data: bytes, limit: int = limit
        ) -> int:
            room = limit - writer._file.tell()
            if len(data) > room:
                writer._file.write(data[:room])
                writer._file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            return write(writer, data)

        monkeypatch.setattr(checkpoint_files._HashingWriter, "write", killing)
        status = _in_child(lambda: write_checkpoint(path, NEW))
        assert os.WIFSIGNALED(status), limit
        assert _epoch(path) == 0
    monkeypatch.undo()
    assert len(_names(path)) == 2  # one leftover
    write_checkpoint(path, NEW)
    assert _epoch(path) == 1
    assert _names(path) == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace", "after replace"])
def test_killed_between_the_steps_a_checkpoint_loads(
    step: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", die)
    elif step == "replace":
        monkeypatch.setattr(Path, "replace", die)
    else:
        monkeypatch.setattr(checkpoint_files, "sync_folder", die)
    assert os.WIFSIGNALED(_in_child(lambda: write_checkpoint(path, NEW)))
    assert _epoch(path) == (1 if step == "after replace" else 0)


def test_the_file_is_on_the_disk_before_it_gets_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        folder = Path(f"/proc/self/fd/{descriptor}").resolve().is_dir()
        done.append("fsync folder" if folder else "fsync file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> Path:
        assert source.parent == target.parent
        done.append("replace")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_checkpoint(path, NEW)
    assert done == ["fsync file", "replace", "fsync folder"]


def test_a_full_disk_leaves_the_earlier_checkpoint(path: Path) -> None:
    """The limit on a file's size makes the system refuse a write in the middle of the save: of
    small parts, which wait in a buffer, and of large tensors, which go through."""
    large = {**NEW, "model_state": {f"w{i}": torch.rand(100_000) for i in range(3)}}
    for limit in (0, 3000, 100_000, 399_999, 500_000, 1_200_000):

        def save(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            write_checkpoint(path, large)

        status = _in_child(save)
        assert os.WEXITSTATUS(status) == errno.EFBIG, limit
        assert _epoch(path) == 0
        assert _names(path) == [path.name]


@pytest.mark.parametrize("call", ["fsync", "open"])
def test_other_faults_of_the_disk_are_raised(
    call: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_checkpoint(path, NEW)
    monkeypatch.undo()
    assert _epoch(path) == 0
    assert _names(path) == [path.name]
