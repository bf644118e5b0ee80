"""Signals to a command that has not set its own handlers yet, or has none."""

import os
import signal
import subprocess
import sys

import pytest

from slowfast.utils import cli
from slowfast.utils.stop_signals import SIGNALS
from tests.commands import ROOT, TOOLS

# A slow import that catches what is raised in it, as some libraries do.
SLOW_IMPORT = """
import os, signal
try:
    os.kill(os.getpid(), {signum})
    while True:
        pass
except BaseException:
    pass
"""
COMMANDS = {
    "before run_command": "from slowfast.utils.stop_signals import end_on_signals\n"
    "end_on_signals()\nimport slow",
    "in run_command": "from slowfast.utils.cli import run_command\n"
    "def main():\n    import slow\nrun_command(main)",
}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_during_an_import_ends_in_one_line(command, signum, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_IMPORT.format(signum=int(signum)))
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS[command]],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert ended.stderr == f"stopped by {signum.name}\n"
    assert ended.returncode == (130 if signum == signal.SIGINT else 143)


def test_every_command_ends_so():
    for path in TOOLS.glob("*.py"):
        before, called, _ = path.read_text().partition("    end_on_signals()")
        assert called, path.name
        assert "\nimport " not in before, path.name


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_raises_in_a_command(signum, capsys):
    cleaned = []

    def main():
        try:
            signal.raise_signal(signum)
        finally:
            cleaned.append(True)

    before = signal.getsignal(signum)
    with pytest.raises(SystemExit) as caught:
        cli.run_command(main)
    assert caught.value.code == (130 if signum == signal.SIGINT else 143)
    assert capsys.readouterr().err == f"stopped by {signum.name}\n"
    assert cleaned == [True]
    assert signal.getsignal(signum) == before


def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as caught:
            cli.run_command(lambda: signal.raise_signal(signal.SIGHUP))
    finally:
        signal.signal(signal.SIGHUP, before)
    assert caught.value.code == 0
