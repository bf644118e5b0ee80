"""What takes seconds to make and every worker of pytest-xdist needs: made once, copied by each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """This process's own copy of the folder that `make` fills in one of the processes.

    make: fills the empty folder it is given; paths below it should be relative.
    """
    base = factory.getbasetemp()
    # The workers' folders are next to each other in the folder of the whole run.
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    whole = common / f"shared_{name}"
    with FileLock(f"{whole}.lock"):
        if not whole.exists():
            part = whole.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(whole)
    return Path(shutil.copytree(whole, factory.mktemp(name) / "copy", symlinks=True))
