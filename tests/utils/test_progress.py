"""Progress lines and bars, on a terminal and without one."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from slowfast.utils import distributed
from slowfast.utils.progress import Bar, open_display, progress_line


class Terminal(io.StringIO):
    """Standard error of a test; `screen` is what was written last."""

    def isatty(self) -> bool:
        return True

    def screen(self, first: str) -> str:
        """Text without colours, from the last occurrence of `first` on."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())
        return first + plain.rpartition(first)[2]


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called within a test: pytest replaces standard error between fixtures and the test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


def test_a_line_counts_steps_and_keeps_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with progress_line("epoch 1/2", 10, "steps") as line:
        line.advance(3, text="loss 2.50")
        line.advance()
    assert re.search(r" 4/10 steps .* steps/s .* loss 2.50", terminal.screen("epoch 1/2"))


def test_other_ranks_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    with progress_line("epoch 1/2", 10, "steps") as line:
        line.advance()
    with open_display() as display:
        display.show([Bar("ablation", 0.5)])
    assert terminal.getvalue() == ""


def test_a_line_without_a_terminal_logs_only_the_message(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        with progress_line("epoch 1/2", 10, "steps") as line:
            line.advance(text="loss 2.50")
        assert caplog.messages == []
        with progress_line("encoding", 10, "texts", "encoded %d of %d texts") as line:
            line.advance(4)
            line.advance(6)
    assert caplog.messages == ["encoded 4 of 10 texts", "encoded 10 of 10 texts"]


def test_bars_follow_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with open_display() as display:
        display.show([Bar("ablation", 0.25, "1/4 runs"), Bar("  a", 0.5), Bar("  b", 0.75)])
        display.say("[a] finished")
        display.show([Bar("ablation", 0.5, "2/4 runs"), Bar("  c", 0.125)])
    assert "[a] finished" in terminal.getvalue()
    screen = terminal.screen("ablation")
    assert re.search(r" 50 % +2/4 runs", screen)
    assert re.search(r"  c .* 12 %", screen)
    assert "  b" not in screen


def test_messages_are_logged_without_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), open_display() as display:
        display.show([Bar("ablation", 0.5, "2/4 runs")])
        display.say("a finished")
    assert caplog.messages == ["a finished"]
