"""Identity of a process that holds a lock: its record in the lock file, and whether it is alive."""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """Process that created a lock file.

    machine: host, boot and container, within which a process number is unique.
    started: start of the process in clock ticks, as process numbers are reused; empty if unknown.
    since: readable start time; never compared.
    token: identifies the file.
    """

    host: str
    machine: str
    pid: int
    started: str
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    def is_on_this_machine(self) -> bool:
        return self.machine == _machine()

    def is_running(self) -> bool:
        """Whether a holder on this machine is alive; `True` if the system hides its process."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            # Another user's process, of which /proc may show nothing.
            pass
        return _start_of(self.pid) in ("", self.started)

    def encode(self) -> bytes:
        """The holder as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def this_process() -> Holder:
    """This process as the holder of a new file."""
    return Holder(
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_start_of(os.getpid()),
        since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
        token=uuid.uuid4().hex,
    )


def decode(text: str) -> Holder | None:
    """The holder that the first line of a lock file names; None if the file is damaged."""
    try:
        holder = Holder(**json.loads(text.partition("\n")[0]))
    except (ValueError, TypeError, RecursionError):
        return None
    pid, texts = holder.pid, [value for name, value in asdict(holder).items() if name != "pid"]
    valid = (
        isinstance(pid, int)
        and 0 < pid < 2**31
        and all(isinstance(value, str) and value.isprintable() for value in texts)
        # The token becomes part of a file name.
        and re.fullmatch("[0-9a-f]{1,32}", holder.token)
    )
    return holder if valid else None


def _machine() -> str:
    boot = space = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        # Containers of one machine number their processes independently.
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()} {boot} {space}"


def _start_of(pid: int) -> str:
    """Start of a process in clock ticks; `ended` for a zombie, empty if it cannot be read."""
    try:
        # The program's name, in brackets, may contain anything.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if state in ("Z", "X") else fields[18]
