"""A closed terminal does not end a command."""

import io
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slowfast.utils import cli
from slowfast.utils.logging import log_json_stats, setup_logging
from tests.commands import ROOT


@pytest.fixture
def broken_pipe():
    """A text stream whose reader has ended."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        yield stream


@pytest.fixture
def full_disk():
    with Path("/dev/full").open("w", buffering=1) as stream:
        yield stream


def status_of(main, **how):
    with pytest.raises(SystemExit) as caught:
        cli.run_command(main, **how)
    return caught.value.code


def logging_main(folder):
    def main():
        setup_logging(folder)
        for number in range(3):
            logging.getLogger("slowfast.x").info("step %d", number)
            print(number, file=sys.stderr)
        setup_logging()

    return main


@pytest.mark.parametrize("kind", ["broken_pipe", "full_disk"])
def test_a_lost_terminal_is_one_warning_in_the_log(kind, request, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", request.getfixturevalue(kind))
    assert status_of(logging_main(tmp_path)) == 0
    log = (tmp_path / "log.txt").read_text()
    assert log.count("standard error is lost from here on") == log.count("WARNING") == 1
    assert [f"step {number}" in log for number in range(3)] == [True] * 3


def test_a_terminal_lost_before_the_log_opens_is_reported_there(broken_pipe, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", broken_pipe)

    def main():
        print("early", file=sys.stderr)
        logging_main(tmp_path)()

    assert status_of(main) == 0
    assert (tmp_path / "log.txt").read_text().count("WARNING") == 1


def test_a_reader_that_wants_no_more_is_no_fault(broken_pipe, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", broken_pipe)
    assert status_of(lambda: print("a table")) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("how", "status"), [({}, 1), ({"prints_result": False}, 0)])
def test_a_result_lost_to_a_full_disk_is_a_failure(how, status, full_disk, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", full_disk)
    assert status_of(lambda: print("a table"), **how) == status
    assert "standard output is lost" in capsys.readouterr().err


def test_a_full_disk_under_the_log_is_one_warning(tmp_path, capsys):
    setup_logging(tmp_path)
    handlers = logging.getLogger("slowfast").handlers
    log = next(handler for handler in handlers if isinstance(handler, logging.FileHandler))
    with Path("/dev/full").open("w", buffering=1) as full:
        log.setStream(full).close()
        for number in range(3):
            logging.getLogger("slowfast.x").info("step %d", number)
        setup_logging()
    error = capsys.readouterr().err
    assert error.count("log.txt cannot be written (No space left on device)") == 1
    assert [f"step {number}" in error for number in range(3)] == [True] * 3


def test_metrics_whose_folder_is_gone_are_one_warning(tmp_path, capsys):
    """The file is opened at its first record."""
    setup_logging(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    for number in range(2):
        log_json_stats(logging.getLogger("slowfast.x"), {"step": number})
    setup_logging()
    error = capsys.readouterr().err
    assert error.count("metrics.jsonl cannot be written") == 1
    assert error.count('"step"') == 2


def test_closed_descriptors_are_not_taken_by_files(tmp_path):
    """Otherwise the messages of C code would be written into the next file that is opened."""
    code = (
        "from slowfast.utils.cli import run_command\n"
        "import os, sys\n"
        "def main():\n"
        f"    with open({str(tmp_path / 'file')!r}, 'w') as file:\n"
        "        os.write(2, b'a message of C code')\n"
        "        print('said'), print('said', file=sys.stderr), sys.exit(file.fileno())\n"
        "run_command(main)\n"
    )
    words = ["bash", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, code]
    assert subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode > 2
    assert (tmp_path / "file").read_text() == ""


def test_streams_are_as_before_afterwards(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert status_of(lambda: print("a table")) == 0
    assert sys.stdout is stream
    assert stream.getvalue() == "a table\n"
