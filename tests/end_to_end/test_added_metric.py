"""A metric that is dropped into its folder shows up everywhere in a run on the sample."""

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slowfast.utils.logging import JSON_PREFIX
from tests.evaluation.added_metrics import added
from tests.faults.trainings import run_here, training_cfg

NAMES = ("verb_reciprocal_rank", "noun_reciprocal_rank")


def test_log_scalars_results_table_and_best_checkpoint(sample_home, tmp_path, monkeypatch):
    monkeypatch.chdir(sample_home)
    output = Path("runs/added_metric")
    switches = ("TENSORBOARD.ENABLE", True, "TEST.ENABLE", True, "SOLVER.MAX_EPOCH", 1)
    with added(tmp_path, "reciprocal_rank"):
        cfg = training_cfg(str(output), *switches)
        cfg.defrost()
        cfg.TRAIN.BEST_METRIC = NAMES[0]
        cfg.freeze()
        assert run_here(cfg) == 0
    log = (output / "log.txt").read_text()
    lines = [line.split(JSON_PREFIX)[1] for line in log.splitlines() if JSON_PREFIX in line]
    stats = {entry["_type"]: entry for entry in map(json.loads, lines)}
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    prefixes = {"train_epoch": "train_epoch", "val_epoch": "val", "test_final": "test"}
    for kind, prefix in prefixes.items():
        for name in NAMES:
            assert 0 < stats[kind][name] < 100
            (scalar,) = events.Scalars(f"{prefix}/{name}")
            assert scalar.value == pytest.approx(stats[kind][name], rel=1e-5)
    results = json.loads((output / "results.json").read_text())
    assert results["ours"][NAMES[0]] == pytest.approx(stats["test_final"][NAMES[0]], rel=1e-5)
    assert NAMES[1] in results["intervals"]
    assert f"\n{NAMES[0]} " in log
    assert (output / "checkpoints" / "checkpoint_best.pyth").is_file()
