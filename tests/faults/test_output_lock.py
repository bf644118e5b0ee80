"""The lock of an output folder, with real processes and files of other machines."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from slowfast.engine.processes import lock_holder
from slowfast.engine.processes import output_lock as module
from slowfast.engine.processes.output_lock import LOCK_NAME, OutputLock, output_lock
from slowfast.utils.errors import UserError
from tests.commands import environment

HOLD = """
import sys, time
from slowfast.engine.processes.output_lock import output_lock
with output_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""
# Takes the lock again and again, each time in a process that ends without giving it back; in
# between it makes sure to be alone. Its status is the number of times that it was not.
TAKE_OVER = """
import os, random, sys, time
from slowfast.engine.processes import output_lock as module
from slowfast.engine.processes.output_lock import output_lock
from slowfast.utils.errors import UserError

def is_stale_and_a_while_passes(path, text, judge=module._is_stale):
    stale = judge(path, text)
    time.sleep(random.random() / 100)
    return stale

module._is_stale = is_stale_and_a_while_passes
folder, alone, taken, intruders = sys.argv[1], sys.argv[1] + "/alone", 0, 0
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + 120
while taken < 12 and time.monotonic() < end:
    child = os.fork()
    if child == 0:
        lock = output_lock(folder)
        try:
            lock.__enter__()
        except UserError:
            os._exit(1)
        try:
            os.close(os.open(alone, os.O_CREAT | os.O_EXCL))
            time.sleep(random.random() / 200)
            os.unlink(alone)
        except OSError:
            os._exit(2)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    taken += status == 0
    intruders += status not in (0, 1)
sys.exit(intruders if taken == 12 else 100)
"""


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    """A process that runs `script`, once it has said its first word."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def content(folder: Path) -> dict[str, object]:
    return json.loads((folder / LOCK_NAME).read_text().splitlines()[0])


def write_foreign(folder: Path, beats: int = 7) -> Path:
    """The lock of a training run on another machine."""
    path = folder / LOCK_NAME
    holder = {
        "host": "node7",
        "machine": "node7 another-boot pid:[1]",
        "pid": os.getpid(),
        "started": "1",
        "since": "2020-01-01 00:00:00 +0000",
        "token": "b5",
    }
    # Whole at every moment, as in the beats of a real one.
    beside = path.with_name("beside")
    beside.write_text(json.dumps(holder) + f"\n{beats:020d}\n")
    beside.replace(path)
    return path


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_SEC", 0.02)
    monkeypatch.setattr(module, "STALE_SEC", 0.3)


def test_it_is_there_while_held_and_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    with output_lock(folder):
        assert content(folder)["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


def test_a_failure_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), output_lock(tmp_path):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_second_is_refused_and_told_who_is_the_first(tmp_path: Path) -> None:
    first = start(HOLD, tmp_path)
    try:
        since = content(tmp_path)["since"]
        with pytest.raises(UserError) as refused, output_lock(tmp_path):
            pass
        message = str(refused.value)
        assert f"process {first.pid} on {os.uname().nodename}, since {since}" in message
        assert f"OUTPUT_DIR {tmp_path}" in message
        assert content(tmp_path)["pid"] == first.pid
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lock_of_a_killed_process_is_taken_over_at_once(
    tmp_path: Path, reaped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same machine it needs no waiting, even before its parent has collected its status."""
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("no waiting is needed here"))
    first = start(HOLD, tmp_path)
    first.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
    with output_lock(tmp_path):
        assert content(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    first.wait()


def test_a_number_that_another_process_has_now_is_no_holder(tmp_path: Path) -> None:
    with output_lock(tmp_path):
        text = (tmp_path / LOCK_NAME).read_text()
    started = content_of(text)["started"]
    (tmp_path / LOCK_NAME).write_text(text.replace(f'"{started}"', '"1"'))
    with output_lock(tmp_path):
        assert content(tmp_path)["started"] == started


def content_of(text: str) -> dict[str, object]:
    return json.loads(text.splitlines()[0])


def test_a_lock_of_another_machine_without_beats_is_taken_over(
    tmp_path: Path, short_waits: None, caplog: pytest.LogCaptureFixture
) -> None:
    write_foreign(tmp_path)
    with output_lock(tmp_path):
        assert content(tmp_path)["pid"] == os.getpid()
    assert "taken over from process" in caplog.text
    assert "on node7, since 2020" in caplog.text


def test_a_lock_of_another_machine_that_beats_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALE_SEC", 5.0)
    path, ended = write_foreign(tmp_path), threading.Event()

    def beat() -> None:
        beats = 7
        while not ended.wait(0.05):
            beats += 1
            write_foreign(tmp_path, beats)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(UserError, match="on node7, since 2020"), output_lock(tmp_path):
            pass
    finally:
        ended.set()
        thread.join()
    assert content_of(path.read_text())["host"] == "node7"


def test_it_beats(tmp_path: Path, short_waits: None) -> None:
    with output_lock(tmp_path):
        before = (tmp_path / LOCK_NAME).read_text()
        while (after := (tmp_path / LOCK_NAME).read_text()) == before:
            time.sleep(0.01)
    assert content_of(after) == content_of(before)
    assert len(after) == len(before)
    assert int(after.splitlines()[1]) > int(before.splitlines()[1])


def record(**changed: object) -> str:
    """First line of a lock file of this process, with some fields changed."""
    return json.dumps({**asdict(lock_holder.this_process()), **changed}) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}\n", '{"host": "no', "[" * 100_000),
        *(record(token=token) for token in ("a/b", "a\0b", "../up", "", "a" * 300, 7)),
        *(record(pid=pid) for pid in (-1, 0, 2**31, 1.5, "1", None)),
        record(host="two\nlines"),
    ],
    ids=range(17),
)
def test_a_damaged_lock_is_taken_over(tmp_path: Path, short_waits: None, text: str) -> None:
    (tmp_path / LOCK_NAME).write_text(text)
    with output_lock(tmp_path):
        assert content(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize("name", [LOCK_NAME, f"{LOCK_NAME}.b5"], ids=["lock", "claim"])
@pytest.mark.parametrize(
    "put", [link_to("nowhere"), link_to("/dev/zero"), link_to("file"), os.mkfifo, os.mkdir]
)
def test_a_lock_that_is_not_a_regular_file_is_an_error_at_once(
    tmp_path: Path, short_waits: None, put: Callable[[Path], None], name: str
) -> None:
    """It must not wait for the other end of a pipe or the target of a link."""
    if name != LOCK_NAME:
        write_foreign(tmp_path)
    (tmp_path / "file").touch()
    put(tmp_path / name)
    with (
        pytest.raises(UserError, match=rf"{name} is not a regular file .*; remove it$"),
        output_lock(tmp_path),
    ):
        pass
    left = {LOCK_NAME, name, "file"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_the_attempts_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a path that alternately exists and does not exist."""
    monkeypatch.setattr(module, "_create", lambda path, holder: None)
    with (
        pytest.raises(UserError, match="could not be taken in 1000 attempts"),
        output_lock(tmp_path),
    ):
        pass


def test_a_lock_that_is_being_written_is_respected(tmp_path: Path) -> None:
    """It is empty for a moment; the error still names its holder."""
    path = tmp_path / LOCK_NAME
    path.touch()
    writer = threading.Timer(0.3, path.write_text, [record(pid=1, host="node7", machine="node7")])
    writer.start()
    with pytest.raises(UserError, match="process 1 on node7"), output_lock(tmp_path):
        pass
    writer.join()
    assert content(tmp_path)["host"] == "node7"


def test_a_full_disk_leaves_no_lock_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.FileIO):
        def write(self, content: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "FileIO", FullDisk)
    with pytest.raises(OSError, match="No space left"), output_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_does_not_keep_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim cannot be created then."""

    def full(path: Path, holder: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with output_lock(tmp_path):
        monkeypatch.setattr(module, "_create", full)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_the_system_hides_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /proc does with hidepid, and kill for another user's process."""

    def forbid(pid: int, signum: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    (tmp_path / LOCK_NAME).write_text(record(started="1"))
    monkeypatch.setattr(lock_holder, "_start_of", lambda pid: "")
    monkeypatch.setattr(os, "kill", forbid)
    with pytest.raises(UserError, match=f"process {os.getpid()} on"), output_lock(tmp_path):
        pass


def test_a_holder_notices_that_it_was_taken_for_dead(tmp_path: Path, short_waits: None) -> None:
    """A process that was suspended for a while must not touch the lock of the other one."""
    with output_lock(tmp_path) as lock:
        lock.check()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        write_foreign(elsewhere).replace(tmp_path / LOCK_NAME)
        lock._thread.join()
        with pytest.raises(UserError, match=r"taken over by another training run.*on node7"):
            lock.check()
    assert content(tmp_path)["host"] == "node7"


def test_a_lock_that_was_deleted_comes_back(tmp_path: Path, short_waits: None) -> None:
    with output_lock(tmp_path) as lock:
        (tmp_path / LOCK_NAME).unlink()
        path = tmp_path / LOCK_NAME
        while not (path.exists() and path.read_text()):
            time.sleep(0.01)
        assert content(tmp_path)["pid"] == os.getpid()
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    with output_lock(tmp_path):
        with pytest.raises(UserError, match=str(os.getpid())), output_lock(tmp_path):
            pass
        assert content(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_whose_holder_was_killed_is_in_nobody_s_way(
    tmp_path: Path, short_waits: None
) -> None:
    """Killed between the claim on a stale lock and its removal."""
    stale = write_foreign(tmp_path)
    claim = tmp_path / f"{LOCK_NAME}.b5"
    claim.write_text(stale.read_text().replace('"b5"', '"c6"'))
    with output_lock(tmp_path):
        assert content(tmp_path)["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_taker_that_comes_late_leaves_the_new_lock_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its finding that the old lock is stale and its removal of it."""
    first = start(HOLD, tmp_path)
    first.kill()
    first.wait()
    quicker = OutputLock(tmp_path / LOCK_NAME)
    judge = module._is_stale

    def judge_and_fall_behind(path: Path, text: str) -> bool:
        stale = judge(path, text)
        monkeypatch.setattr(module, "_is_stale", judge)
        quicker.take()
        return stale

    monkeypatch.setattr(module, "_is_stale", judge_and_fall_behind)
    with pytest.raises(UserError, match=f"process {os.getpid()} on"), output_lock(tmp_path):
        pass
    assert (tmp_path / LOCK_NAME).exists()
    quicker.release()
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_takes_a_stale_lock_over(tmp_path: Path) -> None:
    takers = [start(TAKE_OVER, tmp_path) for _ in range(3)]
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.close()
    assert [taker.wait() for taker in takers] == [0, 0, 0]
