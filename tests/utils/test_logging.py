"""The log file: text, and one JSON object per json_stats line."""

import json
import logging
import os
from pathlib import Path

import pytest

from slowfast.utils.errors import UserError
from slowfast.utils.logging import JSON_PREFIX, log_json_stats, setup_logging


def test_json_lines_can_be_read_back(tmp_path):
    setup_logging(tmp_path)
    log_json_stats(logging.getLogger("slowfast.x"), {"loss": 1 / 3, "bad": float("nan"), "n": 2})
    setup_logging()
    (line,) = [x for x in (tmp_path / "log.txt").read_text().splitlines() if JSON_PREFIX in x]
    stats = json.loads(line.split(JSON_PREFIX)[1])
    assert stats == {"loss": 0.333333, "bad": None, "n": 2}


def test_control_characters_of_a_file_are_escaped(tmp_path, capsys):
    setup_logging(tmp_path)
    logging.getLogger("slowfast.x").info("skipped %s\n\tnext", "\x1b[2J\rname\x9b")
    setup_logging()
    for text in (capsys.readouterr().err, (tmp_path / "log.txt").read_text()):
        assert text.endswith("skipped \\x1b[2J\\x0dname\\x9b\n\tnext\n")


def test_quiet_writes_no_file(tmp_path):
    setup_logging(tmp_path, quiet=True)
    logging.getLogger("slowfast.x").info("unseen")
    setup_logging()
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_log_that_is_no_file_is_an_error_at_once(make, tmp_path):
    make(tmp_path / "log.txt")
    with pytest.raises(UserError, match=r"log.txt is a .*, not a log; remove it, or set another"):
        setup_logging(tmp_path)
