"""One small sample for all tests of this folder."""

from pathlib import Path

import pytest

from slowfast.lab.sample.make import make_sample
from slowfast.lab.sample.settings import SampleSettings

SMALL = SampleSettings(
    num_verbs=8,
    train_segments=60,
    validation_segments=24,
    exo_train_segments=60,
    exo_validation_segments=12,
    segments_per_video=8,
    height=24,
    width=28,
    ego_frames=(6, 8),
    exo_frames=(5, 7),
    two_people_share=0.3,
)


@pytest.fixture(scope="session")
def settings() -> SampleSettings:
    return SMALL


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the rendered small sample."""
    out = tmp_path_factory.mktemp("sample") / "small"
    assert make_sample(out, SMALL)
    return out
