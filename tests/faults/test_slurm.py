"""The SLURM script, with srun, torchrun and scontrol played by short scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, TOOLS

SCRIPT = TOOLS / "slurm" / "train.sbatch"
# A launcher: says that it runs, hands USR1 to nobody but obeys it as a training run does.
TORCHRUN = """#!{python}
import signal, sys, time
def stop(signum, frame):
    print("checkpoint", flush=True)
    sys.exit(1)
signal.signal(signal.SIGUSR1, stop)
print("started", *sys.argv[1:], flush=True)
time.sleep({seconds})
sys.exit({status})
"""
SRUN = """#!/bin/bash
shift
exec "$@"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo node1; echo node2; else echo "scontrol $*" >> "$REQUEUED"; fi
"""


def start(folder: Path, seconds: float, status: int = 0) -> subprocess.Popen[str]:
    """The script as SLURM runs it, with a run that takes `seconds` and ends with `status`."""
    commands = {
        "torchrun": TORCHRUN.format(python=sys.executable, seconds=seconds, status=status),
        "srun": SRUN,
        "scontrol": SCONTROL,
    }
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    job = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "REQUEUED": str(folder / "requeued"),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    return subprocess.Popen(
        ["bash", str(SCRIPT), "--cfg", "some.yaml", "RNG_SEED", "1"],
        cwd=ROOT,
        env={**os.environ, **job},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_a_shell_script() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGUSR1, 0), (signal.SIGTERM, 143)])
def test_an_announced_end_gives_a_checkpoint_and_the_job_back(
    tmp_path: Path, signum: signal.Signals, status: int
) -> None:
    """SIGTERM, which scancel sends, gives a checkpoint only."""
    job = start(tmp_path, seconds=600)
    assert job.stdout is not None
    told = job.stdout.readline()
    assert told.startswith("started ")
    for word in ("--nnodes=2", "--nproc-per-node=4", "--rdzv-endpoint=node1:", "SIGUSR1"):
        assert word in told
    assert told.endswith("tools/run_net.py --cfg some.yaml RNG_SEED 1\n")
    job.send_signal(signum)
    rest = job.stdout.read()
    assert job.wait(60) == status
    assert "checkpoint\n" in rest
    requeued = tmp_path / "requeued"
    if status == 0:
        assert requeued.read_text() == "scontrol requeue 7\n"
    else:
        assert not requeued.exists()


@pytest.mark.parametrize("status", [0, 2])
def test_a_training_that_ends_by_itself_is_not_queued_again(tmp_path: Path, status: int) -> None:
    job = start(tmp_path, seconds=0, status=status)
    job.communicate(timeout=60)
    assert job.returncode == status
    assert not (tmp_path / "requeued").exists()


def test_torchrun_knows_the_options() -> None:
    """Commands of the script, up to the one that it runs."""
    from torch.distributed.run import get_args_parser

    text = SCRIPT.read_text().replace("\\\n", " ")
    command = next(line for line in text.splitlines() if "torchrun" in line and "--nnodes" in line)
    words = command.partition("torchrun")[2].replace('"', "").rstrip(" &").split()
    words = [word.replace("$gpus", "8").replace("$SLURM_JOB_NUM_NODES", "2") for word in words]
    args = get_args_parser().parse_args(words)
    assert args.training_script == "tools/run_net.py"
    assert "SIGUSR1" in args.signals_to_handle
