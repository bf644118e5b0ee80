"""The checkpoint that a test takes, and the log lines about the others."""

import logging
from pathlib import Path

import pytest

from slowfast.config import get_cfg
from slowfast.engine import tester
from slowfast.engine.tester import checkpoint_to_test
from slowfast.utils.errors import UserError

NEWEST, TRAINED = Path("run/newest.pyth"), Path("run/trained.pyth")


@pytest.fixture
def cfg(monkeypatch):
    monkeypatch.setattr(tester, "newest_checkpoint", lambda cfg: NEWEST)
    return get_cfg()


def test_order_of_precedence(cfg):
    assert checkpoint_to_test(cfg, None) == NEWEST
    cfg.TRAIN.CHECKPOINT_FILE_PATH = "ckpts/start.pyth"
    assert checkpoint_to_test(cfg, None) == Path("ckpts/start.pyth")
    assert checkpoint_to_test(cfg, TRAINED) == TRAINED
    cfg.TEST.CHECKPOINT_FILE_PATH = "ckpts/given.pyth"
    assert checkpoint_to_test(cfg, TRAINED) == Path("ckpts/given.pyth")


def test_the_log_names_what_was_passed_over(cfg, caplog):
    cfg.TRAIN.CHECKPOINT_FILE_PATH = "ckpts/start.pyth"
    logging.getLogger("slowfast").propagate = True
    with caplog.at_level(logging.INFO, logger="slowfast"):
        checkpoint_to_test(cfg, TRAINED)
    assert "testing checkpoint run/trained.pyth (this run)" in caplog.text
    assert "skipped checkpoint ckpts/start.pyth (TRAIN.CHECKPOINT_FILE_PATH)" in caplog.text


def test_none_is_an_error(cfg, monkeypatch):
    monkeypatch.setattr(tester, "newest_checkpoint", lambda cfg: None)
    with pytest.raises(UserError, match=r"set TEST\.CHECKPOINT_FILE_PATH"):
        checkpoint_to_test(cfg, None)
