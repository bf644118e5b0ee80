"""The log file: text, and one JSON object per json_stats line."""

import io
import json
import logging
import os
import sys
from pathlib import Path

import pytest

from slowfast.utils.errors import UserError
from slowfast.utils.logging import IN_SUMMARY, JSON_PREFIX, log_json_stats, setup_logging


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


class _TerminalText(io.StringIO):
    def isatty(self):
        return True


def test_numbers_on_a_terminal_are_for_people(tmp_path, monkeypatch):
    """JSON goes to the files; paths are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", _TerminalText())
    setup_logging(tmp_path)
    logger = logging.getLogger("slowfast.x")
    stats = {"_type": "val_epoch", "epoch": "1/2", "verb_top1": 100 / 3, "other": float("nan")}
    log_json_stats(logger, stats, shown={"noun_top1": 25.0})
    log_json_stats(logger, {"_type": "test_final", "verb_top1": 50.0})
    logger.warning("wrote %s/a.pkl and %s/b.pkl", tmp_path, Path.home())
    logger.info("read /data%s/c.pkl", Path.home())
    logger.info("16 clips", extra={IN_SUMMARY: True})
    shown = sys.stderr.getvalue()
    setup_logging()
    assert [line[9:] for line in shown.splitlines()] == [
        "epoch 1/2  validation  top-1 verb 33.3, noun 25.0",
        "warning: wrote a.pkl and ~/b.pkl",
        f"read /data{Path.home()}/c.pkl",
    ]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    kept = {"_type": "val_epoch", "epoch": "1/2", "verb_top1": 33.3333, "other": None}
    assert [json.loads(line) for line in lines] == [kept, {"_type": "test_final", "verb_top1": 50}]
    assert "16 clips" in (tmp_path / "log.txt").read_text()
    logged = [x.split(JSON_PREFIX)[1] for x in (tmp_path / "log.txt").read_text().splitlines()[:2]]
    assert logged == lines


def test_the_numbers_of_a_test_beside_a_training_have_their_own_file(tmp_path):
    setup_logging(tmp_path, name="test_log.txt")
    logging.getLogger("slowfast.x").info("no numbers")
    assert not (tmp_path / "test_metrics.jsonl").exists()
    log_json_stats(logging.getLogger("slowfast.x"), {"_type": "test_final"})
    setup_logging()
    assert (tmp_path / "test_metrics.jsonl").is_file()
    assert not (tmp_path / "metrics.jsonl").exists()
