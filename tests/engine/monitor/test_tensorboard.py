"""TensorBoard's file on a full disk."""

import resource
import signal

import pytest

from slowfast.config import get_cfg
from slowfast.engine.monitor.tensorboard import ScalarWriter


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path)
    cfg.TENSORBOARD.ENABLE = True
    return cfg


@pytest.fixture
def no_file_above():
    """Sets the largest size of a file in bytes; a write beyond it is an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_the_scalars_and_one_warning(cfg, no_file_above, caplog, capsys):
    writer = ScalarWriter(cfg)
    writer.add("train", {"loss": 1.0}, 0)
    no_file_above(150)
    for step in range(1, 50):
        writer.add("train", {"loss": 1.0}, step)
    writer.close()
    (record,) = caplog.records
    assert "TensorBoard's file cannot be written (File too large)" in record.message
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_costs_the_same(cfg, tmp_path, caplog):
    (tmp_path / "tensorboard").write_text("a file")
    writer = ScalarWriter(cfg)
    writer.add("train", {"loss": 1.0}, 0)
    writer.close()
    assert len(caplog.records) == 1
