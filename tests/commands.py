"""Runs the project's commands as a user does, in separate processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
CONFIGS = ROOT / "configs"
SUML_TINY = CONFIGS / "sample" / "SUML_tiny.yaml"
EGO_TINY = CONFIGS / "sample" / "Ego_tiny.yaml"

SMALL_SAMPLE = (
    *("train_segments=32", "validation_segments=10", "segments_per_video=6"),
    *("exo_train_segments=32", "exo_validation_segments=8"),
)
# The shortest run that still has every part.
SHORT_RUN = (
    *("NUM_GPUS", "0", "DATA_LOADER.NUM_WORKERS", "1", "LOG_PERIOD", "1"),
    *("TRAIN.BATCH_SIZE", "8", "TRAIN.EVAL_PERIOD", "1", "TRAIN.CHECKPOINT_PERIOD", "1"),
    *("RESNET.WIDTH_PER_GROUP", "4", "SLOWFAST.BETA_INV", "2", "DATA.NUM_FRAMES", "8"),
    *("EXO.NUM_FRAMES", "8", "DATA.TRAIN_CROP_SIZE", "48", "DATA.TEST_CROP_SIZE", "48"),
    *("DATA.TRAIN_JITTER_SCALES", "[48, 56]", "TENSORBOARD.ENABLE", "True"),
    *("BN.USE_PRECISE_STATS", "True", "BN.NUM_BATCHES_PRECISE", "2"),
)


@dataclass(frozen=True)
class FinishedRun:
    """A run's working directory, its OUTPUT_DIR and what the command printed."""

    home: Path
    output: Path
    stderr: str


def run_tool(
    name: str, *args: object, cwd: Path, timeout_sec: float = 240
) -> subprocess.CompletedProcess[str]:
    """`python tools/NAME ARGS` from the folder `cwd`, one thread, output captured."""
    return _run([sys.executable, str(TOOLS / name), *map(str, args)], cwd, timeout_sec)


def launch_tool(
    name: str, *args: object, processes: int, cwd: Path, timeout_sec: float = 240
) -> subprocess.CompletedProcess[str]:
    """The same in `processes` processes, under torchrun on a free port."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *launcher, str(TOOLS / name), *map(str, args)]
    return _run(command, cwd, timeout_sec)


def _run(command: list[str], cwd: Path, timeout_sec: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout_sec
    )


def environment() -> dict[str, str]:
    """This process's environment, with one thread and the checkout on the module path."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def assert_one_line_error(ended: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Status 2, one line on stderr next to the log, no traceback, and the line holds `parts`."""
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.stderr[-2000:]
    for part in parts:
        assert part in lines[0]
