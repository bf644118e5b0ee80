"""Keys that are given twice in one YAML file are refused; a base is overridden."""

from __future__ import annotations

from pathlib import Path

import pytest

from slowfast.config import load_config
from slowfast.utils.errors import UserError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "SOLVER:\n  BASE_LR: 1.0\nTRAIN:\n  ENABLE: True\nSOLVER:\n  MAX_EPOCH: 3\n",
            "key SOLVER",
        ),
        ("SOLVER:\n  BASE_LR: 1.0\n  BASE_LR: 2.0\n", "key SOLVER.BASE_LR"),
        ("SOLVER.BASE_LR: 1.0\nSOLVER:\n  BASE_LR: 2.0\n", "key SOLVER.BASE_LR"),
    ],
)
def test_keys_given_twice_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{said} is given twice, in lines \\d and \\d; keep one"):
        load_config(path)


def test_a_base_is_overridden(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("SOLVER:\n  BASE_LR: 1.0\n")
    path = tmp_path / "cfg.yaml"
    path.write_text("_BASE_: base.yaml\nSOLVER:\n  BASE_LR: 2.0\n")
    assert load_config(path).SOLVER.BASE_LR == 2.0


def test_a_list_of_lists_is_one_text(tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_text("TRAIN:\n  TRAIN_DATA_LIST: [a.csv, b.csv]\n")
    assert load_config(path).TRAIN.TRAIN_DATA_LIST == "a.csv,b.csv"


def test_a_warm_up_as_long_as_the_run_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_text("SOLVER:\n  MAX_EPOCH: 5\n  WARMUP_EPOCHS: 5.0\n")
    ((level, text),) = load_config(path).COMPUTED_NOTES
    assert level == "WARNING"
    assert "WARMUP_EPOCHS 5.0 is not shorter than SOLVER.MAX_EPOCH 5" in text


def test_steps_beyond_the_run_are_reported(tmp_path: Path) -> None:
    """A step at the last epoch is common in this field, so it is not reported."""
    path = tmp_path / "cfg.yaml"
    path.write_text(
        "SOLVER:\n  LR_POLICY: steps_with_relative_lrs\n  MAX_EPOCH: 5\n"
        "  STEPS: [0, 3, 5]\n  LRS: [1, 0.1, 0.01]\n"
    )
    assert "COMPUTED_NOTES" not in load_config(path)
    ((level, text),) = load_config(path, ["SOLVER.MAX_EPOCH", 4]).COMPUTED_NOTES
    assert level == "WARNING"
    assert "names [5], but the run ends at SOLVER.MAX_EPOCH 4" in text
