"""The expected end of an ablation, and the progress of a run."""

import math

import pytest

from slowfast.lab.ablation.progress import expected_end, time_left, trained_share


def test_time_left():
    assert math.isnan(time_left(["a"], [], {}, 1))
    # Two runs of a wait (10 s each), one of b, which nobody has finished (also 10 s).
    assert time_left(["a", "a", "b"], [], {"a": [8, 12]}, 1) == pytest.approx(30)
    assert time_left(["a", "a", "b"], [("a", 4)], {"a": [10]}, 2) == pytest.approx(18)
    # The last run takes its own time however many jobs there are.
    assert time_left([], [("a", 4)], {"a": [10]}, 4) == pytest.approx(6)
    assert time_left([], [("a", 40)], {"a": [10]}, 4) == 0


def test_expected_end_is_told_in_hours():
    assert expected_end(7500).startswith("2:05 h to go, until about ")
    assert expected_end(math.nan) == "end not known yet"


def test_trained_share(tmp_path):
    log = tmp_path / "log.txt"
    assert trained_share(log, 4) == 0.0
    log.write_text('[x] json_stats: {"_type": "train_iter", "epoch": "2/4", "iter": "1/2"}\nmore\n')
    assert trained_share(log, 4) == pytest.approx(1.5 / 4)
    with log.open("a") as file:
        file.write('[x] json_stats: {"_type": "val_epoch", "epoch": "4/4"}\njson_stats: {"x": 1}\n')
    assert trained_share(log, 4) == 1.0
