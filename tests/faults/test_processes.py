"""Signals to real processes and groups, ranks that are killed, and losses that are not numbers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.commands import SUML_TINY, environment
from tests.faults.trainings import STEPS, TRAINING, assert_same_training

SCRIPT = Path(__file__).with_name("injected_run.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
WAIT_SEC = 120


@contextmanager
def started(
    home: Path, output: str, *overrides: object, fault: str = "none", launcher: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A training run in a separate process group, which ends with the block."""
    args = ["--cfg", SUML_TINY, *TRAINING, "OUTPUT_DIR", output, *overrides]
    command = [sys.executable, *launcher, str(SCRIPT), fault, *map(str, args)]
    with (home / f"{Path(output).name}.stderr").open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=home, env=environment(), stderr=stderr, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def finish(home: Path, output: str, *overrides: object, **how: object) -> tuple[int, str]:
    """Exit status and stderr of a training run."""
    with started(home, output, *overrides, **how) as process:
        status = process.wait(WAIT_SEC)
    return status, (home / f"{Path(output).name}.stderr").read_text()


@pytest.fixture(scope="module")
def whole_pair(sample_home) -> Path:
    """OUTPUT_DIR of an uninterrupted run in two processes."""
    status, stderr = finish(sample_home, "runs/pair", "NUM_GPUS", 2)
    assert status == 0, stderr[-4000:]
    return sample_home / "runs" / "pair"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_command_alone(sample_home, signum):
    """Our own launcher forwards it; the run resumes in another number of processes."""
    output = f"runs/pair_{signum.name}"
    status = stopped(sample_home, output, "NUM_GPUS", 2, signum=signum, to_group=False)
    assert status == (130 if signum == signal.SIGINT else 143)
    if signum == signal.SIGUSR1:
        status, stderr = finish(sample_home, output, "NUM_GPUS", 0, "SOLVER.MAX_EPOCH", 1)
        assert status == 0, stderr[-4000:]
        steps = range(STEPS + 1)
        names = [f"checkpoint_epoch_00000_iter_{step:07d}.pyth" for step in steps]
        folder = sample_home / output / "checkpoints"
        (done,) = [step for step in steps if (folder / names[step]).is_file()]
        log = (sample_home / output / "log.txt").read_text()
        assert f"0 epoch(s) and {done} step(s) are done" in log
        assert (folder / "checkpoint_epoch_00001.pyth").is_file()


def test_a_signal_to_the_whole_group(sample_home, whole_pair):
    """As when a terminal closes. Data workers get it too, and must not end before training does."""
    output, settings = "runs/pair_group", ("NUM_GPUS", 2, "DATA_LOADER.NUM_WORKERS", 2)
    status = stopped(sample_home, output, *settings, signum=signal.SIGHUP, to_group=True)
    assert status == 143
    ended, stderr = finish(sample_home, output, *settings)
    assert ended == 0, stderr[-4000:]
    assert_same_training(sample_home / output, whole_pair)


def stopped(
    home: Path, output: str, *overrides: object, signum: signal.Signals, to_group: bool
) -> int:
    """Exit status of a run that gets a signal in the second step of its first epoch."""
    target = "group" if to_group else "command"
    status, stderr = finish(home, output, *overrides, fault=f"{target}:0:0:1:{int(signum)}")
    assert "the same command resumes from" in stderr
    assert "Traceback" not in stderr
    return status


def test_torchrun_brings_a_killed_rank_back(sample_home, whole_pair):
    """It resumes after the second step; after the first, where the death of rank 1 reached rank 0
    while they still put together what the second one left."""
    status, stderr = finish(
        sample_home,
        "runs/killed_rank",
        *("TRAIN.CHECKPOINT_PERIOD_ITERS", 1),
        fault="kill:1:0:2",
        launcher=(*TORCHRUN, "--max-restarts=1", "--monitor-interval=0.2"),
    )
    assert status == 0, stderr[-4000:]
    log = (sample_home / "runs" / "killed_rank" / "log.txt").read_text()
    assert re.findall(r"(\d) epoch\(s\) and (\d) step\(s\) are done", log) in (
        [("0", "1")],
        [("0", "2")],
    )
    assert_same_training(sample_home / "runs" / "killed_rank", whole_pair)


def test_one_rank_without_a_finite_loss_stops_all(sample_home):
    status, stderr = finish(sample_home, "runs/nan", "NUM_GPUS", 2, fault="nan:1:0:1")
    assert status == 2, stderr[-4000:]
    (line,) = {line for line in stderr.splitlines() if line.startswith("error: ")}
    assert "epoch 1, step 2: align on rank 1 (P" in line
    assert "rank 0" not in line
    saved = sample_home / "runs/nan/nonfinite/epoch_00001_iter_0000002_rank_1.pt"
    assert str(saved.relative_to(sample_home)) in line
    content = torch.load(saved, weights_only=False)
    assert len(content["narration_ids"]) == 4
    assert content["batch"].ego.frames.shape[0] == 4
    assert all(name in line for name in content["narration_ids"])


def test_a_step_that_is_not_finite_on_one_rank_is_skipped_on_all(sample_home):
    settings = ("NUM_GPUS", 2, "SOLVER.SKIP_NONFINITE", 1, "SOLVER.MAX_EPOCH", 1)
    status, stderr = finish(sample_home, "runs/skipped", *settings, fault="nan:1:0:3")
    assert status == 0, stderr[-4000:]
    assert "align on rank 1" in stderr
    assert "SOLVER.SKIP_NONFINITE 1" in stderr
    last = Path("checkpoints") / "checkpoint_epoch_00001.pyth"
    content = torch.load(sample_home / "runs/skipped" / last, weights_only=True)
    assert content["nonfinite_skipped"] == 1
    assert all(torch.isfinite(value).all() for value in content["model_state"].values())
