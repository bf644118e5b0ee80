"""Where the stored reference data lies, and what every test needs."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _stored(variable: str, folder: str) -> Path:
    path = Path(os.environ.get(variable) or ROOT.parent / "shared" / folder)
    if not path.is_dir():
        pytest.skip(f"no reference data at {path} (set {variable})")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with the numbers of the published code (environment: SUML_GOLDEN)."""
    return _stored("SUML_GOLDEN", "golden")


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder with real annotations and frames (environment: SUML_REAL)."""
    return _stored("SUML_REAL", "real")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
