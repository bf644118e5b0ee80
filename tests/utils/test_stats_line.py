"""The line of an epoch that a terminal shows in place of the JSON."""

import pytest

from slowfast.utils.stats_line import clock, stats_line


def test_epochs() -> None:
    values = {"epoch": "3/18", "loss": 4.1, "verb_top1": 17.5, "verb_top5": 60.0, "sec": 61.2}
    trained = stats_line({"_type": "train_epoch", **values})
    assert trained == "epoch 3/18  trained in 1:01  loss 4.1  top-1 verb 17.5"
    # A validation without labels has no values.
    assert stats_line({"_type": "val_epoch", "epoch": "3/18"}) == "epoch 3/18  validation"
    assert stats_line({"_type": "test_final", "verb_top1": 17.5}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (90061, "1d 1:01:01")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
