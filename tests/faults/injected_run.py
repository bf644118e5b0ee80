"""tools/run_net.py with a fault in it: `injected_run.py FAULT ARGS...`, in whichever process.

FAULT: `none`; `kill:RANK:EPOCH:STEP` (SIGKILL in that step, in the first life of the job);
`nan:RANK:EPOCH:STEP` (the loss of that rank is not a number); `command:RANK:EPOCH:STEP:SIGNAL` and
`group:RANK:EPOCH:STEP:SIGNAL` (that rank sends a signal, in that step, to the command that started
it, or to the whole process group). NUM_GPUS counts processes on the CPU, unless tests run with
`--device cuda`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
# Processes that are started from here run this module again, without the arguments.
FAULT = os.environ.setdefault("INJECTED_FAULT", sys.argv.pop(1) if len(sys.argv) > 1 else "none")

from slowfast.engine.processes import launch  # noqa: E402
from slowfast.engine.step.update import Update  # noqa: E402
from slowfast.tasks.ego_exo_alignment import EgoExoAlignmentTask  # noqa: E402
from slowfast.utils import distributed  # noqa: E402
from tests.devices import on_cuda  # noqa: E402

if not on_cuda():
    launch._check_devices = lambda cfg, processes_here: None
    launch._device = lambda cfg, local_rank: torch.device("cpu")

_kind, *_numbers = FAULT.split(":")
_place, _signal = tuple(map(int, _numbers[:3])), int(*_numbers[3:])


def _kill(self, batch, epoch, iteration, call=Update.__call__):
    first_life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if first_life and (distributed.rank(), epoch, iteration) == _place:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(self, batch, epoch, iteration)


def _send_signal(self, batch, epoch, iteration, call=Update.__call__):
    if (distributed.rank(), epoch, iteration) == _place:
        if _kind == "group":
            os.killpg(os.getpgrp(), _signal)
        else:
            os.kill(os.getppid(), _signal)
    return call(self, batch, epoch, iteration)


def _not_a_number(self, output, batch, epoch, iteration, losses=EgoExoAlignmentTask.losses):
    step = losses(self, output, batch, epoch, iteration)
    if (distributed.rank(), epoch, iteration) == _place:
        step.losses["align"] = step.losses["align"] * float("nan")
        step.total = step.total * float("nan")
    return step


if _kind == "kill":
    Update.__call__ = _kill
elif _kind in ("command", "group"):
    Update.__call__ = _send_signal
elif _kind == "nan":
    EgoExoAlignmentTask.losses = _not_a_number

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tools"))
    import run_net

    from slowfast.utils.cli import run_command

    run_command(run_net.main)
