"""The boundary around parsers: any exception becomes one line; special files are not opened."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from slowfast.config.load import load_config
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.engine.checkpoints.formats import read_checkpoint
from slowfast.utils.errors import UserError
from slowfast.utils.logging import setup_logging
from slowfast.utils.reading import reading, require_file
from slowfast.utils.safe_pickle.load import load_dataframe


@pytest.mark.parametrize(
    "error",
    [
        zlib.error("bad data"),
        EOFError(),
        NotImplementedError("compression type 99"),
        RecursionError("too deep"),
        MemoryError(),
        IsADirectoryError(21, "Is a directory"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        SystemError("bad call"),
    ],
)
def test_any_exception_becomes_one_line(error: Exception) -> None:
    with pytest.raises(UserError) as caught, reading("a.npz", "a pair table", "mine it again"):
        raise error
    assert str(caught.value).startswith("cannot read a.npz as a pair table: ")
    assert str(caught.value).endswith("; mine it again")
    assert caught.value.__cause__ is error


def test_another_file_that_the_system_names_is_added() -> None:
    """PyAV gives the name of a function instead, so that the file has to be named too."""
    denied = PermissionError(13, "Permission denied", "root/P01")
    with pytest.raises(UserError) as caught, reading("root", "frames", "check its links"):
        raise denied
    said = "cannot read root as frames: Permission denied (root/P01); check its links"
    assert str(caught.value) == said
    with pytest.raises(UserError, match=r"^cannot read a.csv as a list: Permission denied$"):  # noqa: SIM117
        with reading("a.csv", "a list"):
            raise PermissionError(13, "Permission denied", "a.csv")


def test_error_of_the_body_passes_unchanged() -> None:
    with pytest.raises(UserError, match=r"^row 3 has no video$"), reading("a.csv", "a list"):
        raise UserError("row 3 has no video")


def test_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"^no.csv, a frame list, does not exist; set DATA.LIST$"):
        require_file(Path("no.csv"), "a frame list", "set DATA.LIST")


def test_special_files_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=r"pipe is a named pipe \(FIFO\), not a frame$"):
        require_file(tmp_path / "pipe", "a frame")
    with pytest.raises(UserError, match="null is a device, not a frame"):
        require_file(Path("/dev/null"), "a frame")
    with pytest.raises(UserError, match="is a folder, not a frame"):
        require_file(tmp_path, "a frame")
    with pytest.raises(UserError, match=r"cannot read .*loop as a frame: Too many levels"):
        require_file(tmp_path / "loop", "a frame")
    with pytest.raises(UserError, match=r"cannot read .* as a frame: ValueError"):
        require_file(Path("nul\0.jpg"), "a frame")


def test_errors_carry_no_control_characters() -> None:
    error = UserError("bad name \x1b[31mred\x00\nsecond line \ud800")
    assert str(error) == r"bad name \x1b[31mred\x00 second line \ud800"


def test_traceback_is_in_the_log_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(tmp_path)
    with pytest.raises(UserError), reading("a.npz", "a pair table"):
        raise KeyError("a fault of ours")
    setup_logging()
    logging.getLogger("slowfast").handlers.clear()
    assert "Traceback" in (tmp_path / "log.txt").read_text()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n<!DOCTYPE html>\n<html></html>", "is a web page, not the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"", "is empty"),
    ],
)
@pytest.mark.parametrize("name", ["w.pyth", "w.pkl", "w.safetensors", "t.pkl", "c.yaml", "p.npz"])
def test_what_a_download_left_instead_is_named(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    if name == "c.yaml" and not content:
        pytest.skip("an empty YAML file is a config without keys")
    path = tmp_path / name
    path.write_bytes(content)
    readers: dict[str, Callable[[Path], object]] = {
        "w.pkl": lambda file: read_checkpoint(file, "caffe2"),
        "t.pkl": load_dataframe,
        "c.yaml": load_config,
        "p.npz": PairTable.load,
    }
    with pytest.raises(UserError, match=said):
        readers.get(name, read_checkpoint)(path)
