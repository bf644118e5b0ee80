"""The limit of a machine, and how many cores a GPU needs, for machines of every kind."""

import multiprocessing
import time

import pytest

from slowfast.lab.benchmark.loader import ClipCosts, advice, limited_by
from slowfast.lab.benchmark.timing import family_time, interleaved_by


@pytest.mark.parametrize(
    ("changes", "cores", "expected"),
    [
        ({}, 1, "decode"),
        ({"decode": 4.0}, 1, "workers"),
        ({}, 64, "model"),
        ({"transfer": 8.0}, 64, "transfer"),
        # 2 ms of the device's transform come on top of the model's 5.
        ({"transfer": 6.0}, 64, "model"),
        ({"transfer": 6.0, "model": None}, 64, "transfer"),
        ({"transfer": None, "model": None}, 64, "decode"),
    ],
)
def test_the_slowest_part_limits(changes, cores, expected):
    settings = {"decode": 9.0, "worker": 10.0, "transform": 2.0, "transfer": 1.0, "model": 5.0}
    costs = ClipCosts(**{**settings, **changes})
    assert limited_by(costs, cores) == expected
    text = "\n".join(advice(costs, cores))
    assert f"what limits this machine: {expected} (" in text
    assert f"workers: {cores * 100} clips/s on {cores} core(s)" in text


def test_cores_that_keep_one_gpu_busy():
    """200 clips/s at 10 ms of a core, whatever this machine's own device makes of it."""
    costs = ClipCosts(decode=9.0, worker=10.0, transform=2.0, model=5.0)
    assert "one GPU of 200 clips/s needs 2.0 core(s)" in advice(costs, 2)[-1]
    assert "NUM_WORKERS 2," in advice(costs, 2)[-1]
    unknown = ClipCosts(decode=9.0, worker=10.0, transform=2.0)
    assert "give --model-clips-per-sec" in advice(unknown, 2)[-1]


def test_time_of_children_counts():
    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    child = multiprocessing.Process(target=_busy, args=(ready, stop))
    child.start()
    ready.wait()
    alone, family = interleaved_by(
        {"wait": lambda: time.sleep(0.2)}, 1, [time.process_time, family_time]
    )
    stop.set()
    child.join()
    # The child computes all the time, this process sleeps.
    assert family["wait"] > alone["wait"]


def _busy(ready, stop):
    ready.set()
    while not stop.is_set():
        sum(range(1000))
