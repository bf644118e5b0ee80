"""Exit status and last line of commands."""

import pytest

from slowfast.utils import cli
from slowfast.utils.errors import UserError
from slowfast.utils.logging import setup_logging


def fail() -> None:
    raise UserError("TRAIN.X is 3; set it to 2")


def ended(main) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.run_command(main)
    return caught.value.code


def test_a_users_mistake_is_one_line(capsys):
    assert ended(fail) == 2
    assert capsys.readouterr().err == "error: TRAIN.X is 3; set it to 2\n"


def test_what_ends_a_command_is_in_its_log(tmp_path):
    setup_logging(tmp_path)
    try:
        ended(fail)
        with pytest.raises(ZeroDivisionError):
            cli.run_command(lambda: 1 // 0)
    finally:
        setup_logging()
    log = (tmp_path / "log.txt").read_text()
    assert "ERROR slowfast] TRAIN.X is 3; set it to 2\n" in log
    assert "ZeroDivisionError" in log
    assert log.count("TRAIN.X") == 1


def test_success_and_a_status_of_its_own():
    assert ended(lambda: None) == 0
    assert ended(lambda: 5) == 5


def test_an_interruption_has_its_own_status(capsys):
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert ended(interrupted) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_our_fault_is_a_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run_command(lambda: 1 // 0)


def test_a_place_that_cannot_be_used_is_one_line(tmp_path, capsys):
    assert ended((tmp_path / ("x" * 300)).read_bytes) == 2
    assert capsys.readouterr().err.endswith(": File name too long; check its owner and its disk\n")
    with pytest.raises(FileNotFoundError):
        cli.run_command((tmp_path / "none").read_bytes)


def test_later_processes_wait_for_the_first_one(monkeypatch):
    waited = []
    monkeypatch.setattr(cli.time, "sleep", waited.append)
    ended(fail)
    monkeypatch.setenv("LOCAL_RANK", "1")
    ended(fail)
    assert waited == [cli.OTHERS_WAIT_SEC]
