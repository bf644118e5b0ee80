"""A run that finds other data than before: refused, or continued where the config says so."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.datasets.pairing.narrations import CACHE_VERSION, VECTOR_TYPE, stored_vector
from slowfast.datasets.pairing.pairs import PairTable
from slowfast.engine.checkpoints.files import numbered_checkpoints
from slowfast.engine.checkpoints.same_data import DATA
from slowfast.engine.preflight.dry_run import dry_run
from slowfast.utils.errors import UserError
from tests.commands import EGO_TINY
from tests.faults.trainings import TRAINING, run_here, signal_in_step, training_cfg

SAMPLE = Path("data/sample")
ANNOTATIONS = SAMPLE / "epic-100/annotations"


def stopped_and_copied(folder: Path, cfg: CfgNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the training after its first step; it reads from copies below `folder`."""
    shutil.copytree(ANNOTATIONS, folder / "lists")
    with monkeypatch.context() as patched:
        signal_in_step(patched, 0, 0, signal.SIGTERM)
        assert run_here(cfg) == 143


def rewritten(path: Path, change: Callable[[list[list[str]]], None]) -> None:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def rename_class(rows: list[list[str]]) -> None:
    rows[0][1] = "other"


def refusal(cfg: CfgNode) -> str:
    with pytest.raises(UserError) as refused:
        run_here(cfg)
    return str(refused.value).partition("changed since: ")[2].partition(";")[0]


def test_lists(sample_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sample_home)
    lists = tmp_path / "lists"
    settings = (*TRAINING, "OUTPUT_DIR", tmp_path / "run", "SOLVER.MAX_EPOCH", 1)
    cfg = load_config(EGO_TINY, [*map(str, settings), "DATA.PATH_TO_DATA_DIR", str(lists)])
    stopped_and_copied(tmp_path, cfg, monkeypatch)
    train, val = lists / "EPIC_100_train.csv", lists / "EPIC_100_validation.csv"
    (stopped,) = numbered_checkpoints(tmp_path / "run").values()

    os.utime(train)
    rewritten(train, list.reverse)
    assert refusal(cfg) == "training list"
    rewritten(val, list.pop)
    assert refusal(cfg) == "training list, validation list"
    assert [*numbered_checkpoints(tmp_path / "run").values()] == [stopped]
    assert any("changed since: training list" in line for line in dry_run(cfg).mistakes)
    rewritten(train, list.reverse)
    assert refusal(cfg) == "validation list"

    cfg.defrost()
    cfg.TRAIN.ACCEPT_CHANGED_DATA = True
    assert run_here(cfg) == 0
    assert "resumes with the new validation list" in (tmp_path / "run/log.txt").read_text()
    before = torch.load(stopped, weights_only=True)[DATA]
    newest = [*numbered_checkpoints(tmp_path / "run").values()][-1]
    after = torch.load(newest, weights_only=True)[DATA]
    assert {name for name in before if before[name] != after[name]} == {"validation list"}


def test_pairs_and_narrations(
    sample_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    pairs, cache = tmp_path / "pairs.npz", tmp_path / "narrations"
    shutil.copy(SAMPLE / "pairs.npz", pairs)
    shutil.copytree(SAMPLE / "narrations", cache)
    cfg = training_cfg(
        str(tmp_path / "run"),
        *("SUML.PAIRS.FILE", pairs, "SUML.CACHE_DIR", cache),
        *("DATA.PATH_TO_DATA_DIR", tmp_path / "lists"),
    )
    stopped_and_copied(tmp_path, cfg, monkeypatch)

    table = PairTable.load(pairs)
    table.indices[:] = table.indices[:, ::-1]
    table.save(pairs)
    assert refusal(cfg) == "training pair table"
    shutil.copy(SAMPLE / "pairs.npz", pairs)
    rewritten(tmp_path / "lists/EPIC_100_verb_classes.csv", rename_class)
    (file,) = cache.glob("*.sqlite")
    with sqlite3.connect(file) as connection:
        connection.execute("VACUUM")
    assert refusal(cfg) == "training class table"
    shutil.copytree(ANNOTATIONS, tmp_path / "lists", dirs_exist_ok=True)
    vector = np.eye(1, cfg.SUML.EMBED_DIM, dtype=VECTOR_TYPE)[0]
    with sqlite3.connect(file) as connection:
        for (text,) in connection.execute("SELECT text FROM embeddings").fetchall():
            row = (stored_vector(text, vector, CACHE_VERSION), text)
            connection.execute("UPDATE embeddings SET vector = ? WHERE text = ?", row)
    assert refusal(cfg) == "training narrations"


def test_a_checkpoint_without_digests_resumes(
    sample_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample_home)
    cfg = training_cfg(str(tmp_path / "run"), "SOLVER.MAX_EPOCH", 1)
    stopped_and_copied(tmp_path, cfg, monkeypatch)
    (stopped,) = numbered_checkpoints(tmp_path / "run").values()
    content = torch.load(stopped, weights_only=True)
    del content[DATA]
    torch.save(content, stopped)
    assert run_here(cfg) == 0
    assert (tmp_path / "run/log.txt").read_text().count("holds no digests of its data") == 1
