from pathlib import Path

import pytest

from tests.commands import SUML_TINY, run_tool
from tests.faults.trainings import TRAINING


@pytest.fixture(scope="session")
def whole_run(sample_home: Path) -> Path:
    """OUTPUT_DIR of an uninterrupted run in one process."""
    args = ("--cfg", SUML_TINY, *TRAINING, "OUTPUT_DIR", "runs/left_alone")
    ended = run_tool("run_net.py", *args, cwd=sample_home)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return sample_home / "runs" / "left_alone"
