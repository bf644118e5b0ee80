"""The projection of docs/scaling.md, recomputed from the bytes that the model sends."""

import re

import pytest
import torch

from slowfast.lab.benchmark import scale
from slowfast.lab.benchmark.workload import made_cfg
from slowfast.tasks.build import build_training
from tests.commands import ROOT

PAIRS_PER_GPU = 32
# The target of 88 pairs/s on a GPU, and the goal of 150.
STEPS_SEC = (PAIRS_PER_GPU / 88, PAIRS_PER_GPU / 150)
# Bytes per second of the slowest link of a ring, in the order of the table.
LINKS = (320e9, 10e9)
# Other collectives of a step: gathers of z and d of both halves, and of z, z and similarities for
# the alignment; sums of the gradients of the four z blocks.
COLLECTIVES, HOP_SEC = 11, 5e-6
# Part of a step, its backward pass, that hides gradients.
OVERLAP = 0.5


def projected_step_sec(step_sec, sent, processes, bytes_per_sec) -> float:
    """T = t + max(0, S_g / B - o t) + S_e / B + c a (W - 1), symbols as on the page."""
    gradients = sent["gradient bytes sent"] / bytes_per_sec
    embeddings = sent["embedding bytes sent"] / bytes_per_sec
    latency = COLLECTIVES * HOP_SEC * (processes - 1)
    return step_sec + max(0.0, gradients - OVERLAP * step_sec) + embeddings + latency


def table_rows() -> list[list[float]]:
    lines = (ROOT / "docs/scaling.md").read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| \d+ \| \d+ \|", line)]
    return [[float(number) for number in re.findall(r"[\d.]+", row)] for row in rows]


def test_the_formula_by_hand():
    sent = {"gradient bytes sent": 1e9, "embedding bytes sent": 1e6}
    # Hidden gradients: 0.1 s within 0.5 s of backward pass; 1e6 bytes; 11 x 5 us x 7.
    assert projected_step_sec(1.0, sent, 8, 1e10) == pytest.approx(1 + 1e-4 + 3.85e-4)
    assert projected_step_sec(1.0, sent, 8, 1e9) == pytest.approx(1.5 + 1e-3 + 3.85e-4)
    assert projected_step_sec(1.0, dict.fromkeys(sent, 0.0), 1, 1e9) == 1


def test_the_table_of_the_page(monkeypatch):
    cfg = made_cfg(torch.device("cuda"))
    with torch.device("meta"):
        built = build_training(cfg)
    monkeypatch.setattr(scale, "build_training", lambda cfg: built)
    rows = table_rows()
    assert [row[0] for row in rows] == [8, 16, 32, 64, 128, 256, 512]
    for gpus, batch, *shown in rows:
        assert batch == gpus * PAIRS_PER_GPU
        sent = scale.traffic(cfg, PAIRS_PER_GPU, int(gpus))
        for link, part in zip(LINKS, (shown[:4], shown[4:]), strict=True):
            steps = [projected_step_sec(step, sent, gpus, link) for step in STEPS_SEC]
            assert part[:2] == [round(batch / step) for step in steps]
            efficiency = [t / step for t, step in zip(STEPS_SEC, steps, strict=True)]
            assert part[2:] == [round(value, 2) for value in efficiency]
