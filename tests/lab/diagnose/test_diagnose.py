"""The diagnosis of a trained run against what other commands say about it, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from fvcore.common.config import CfgNode

from slowfast.config.load import load_config, run_config
from slowfast.datasets.build import build_dataset
from slowfast.engine import tester
from slowfast.lab.diagnose.diagnose import diagnose_runs
from slowfast.lab.diagnose.pairs import training_agreement
from slowfast.semantics.build import exo_train_annotations, mine_from_config
from slowfast.semantics.exo_labels import map_exo_labels
from slowfast.utils.errors import UserError
from tests.commands import EGO_TINY, FinishedRun

ONE_VIEW = ("TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1")
UNALIGNED = ("SUML.ALIGN.KIND", "none", "SUML.WEIGHTS.EXO_TEXT", "0")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that features are computed once."""
    return tmp_path_factory.mktemp("diagnosis")


@pytest.fixture
def at_home(suml_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> FinishedRun:
    monkeypatch.chdir(suml_run.home)
    return suml_run


def diagnosed(out: Path, *opts: str) -> dict:
    """The content of diagnosis.json."""
    diagnose_runs([Path("runs/suml")], out, (*ONE_VIEW, *opts), batches=1)
    (one,) = json.loads((out / "diagnosis.json").read_text())["runs"]
    return one


def config(run: FinishedRun, *overrides: str) -> CfgNode:
    return run_config(run.output, (*ONE_VIEW, *overrides))


def test_numbers_equal_those_of_other_commands(
    at_home: FinishedRun, out: Path, tmp_path: Path
) -> None:
    found = diagnosed(out)
    assert found["segments"] == {"train": {"ego": 32, "exo": 32}, "test": {"ego": 10, "exo": 8}}
    (row,) = found["checkpoints"]
    assert row["epoch"] == 1

    # The similarities and recalls are those of the test task.
    words = ("TEST.TASK", "cross_view", "OUTPUT_DIR", str(tmp_path))
    cfg = config(at_home, *words, "TEST.FEATURES.PER_VIEW", "False")
    checkpoint = at_home.output / "checkpoints" / "checkpoint_epoch_00001.pyth"
    tester.test(cfg, torch.device("cpu"), tester.plan_test(cfg), checkpoint)
    results = json.loads((tmp_path / "results_cross_view.json").read_text())
    assert row["alignment"]["test"] == results
    assert row["alignment"]["train"]["num_table_pairs"] == 96

    # The pairs are those of the miner's report.
    report = mine_from_config(config(at_home, "SUML.PAIRS.FILE", str(tmp_path / "pairs.npz")))
    assert report.verb_agreement is not None
    assert report.noun_agreement is not None
    assert found["pairs"]["verb"]["pairs"] == pytest.approx(100 * report.verb_agreement)
    assert found["pairs"]["noun"]["pairs"] == pytest.approx(100 * report.noun_agreement)

    shares = [term["share"] for term in row["gradients"].values()]
    assert sum(shares) == pytest.approx(1)
    assert row["gradients"]["align"]["norm"] > 0
    assert row["gradients"]["exo_verb"]["cosine"] is None
    assert all(0 <= row["probes"][x][y] <= 100 for x in ("z_ego", "pooled") for y in found["pairs"])

    # Gradients computed again, features read, and all of it on the page.
    assert diagnosed(out) == found
    page = (out / "diagnosis.md").read_text()
    align = row["gradients"]["align"]
    assert f"| suml | 1 | align | {align['norm']:.3f} | {align['share']:.3f} |" in page
    assert f"| suml | verb | {found['pairs']['verb']['pairs']:.1f} |" in page


def test_views_are_compared_only_where_both_were_aligned(at_home: FinishedRun, out: Path) -> None:
    found = diagnosed(out, *UNALIGNED)
    assert found["segments"] == {"train": {"ego": 32}, "test": {"ego": 10}}
    (row,) = found["checkpoints"]
    assert row["alignment"] == {"train": None, "test": None}
    assert "align" not in row["gradients"]
    assert row["probes"].keys() == {"z_ego", "pooled"}
    assert "Alignment" not in (out / "diagnosis.md").read_text()


def test_shuffled_pairs_are_those_of_the_training(at_home: FinishedRun) -> None:
    found = []
    for shuffle in ("False", "True"):
        cfg = config(at_home, "SUML.PAIRS.SHUFFLE", shuffle)
        labels = map_exo_labels(cfg, exo_train_annotations(cfg), required=True)
        found.append(training_agreement(build_dataset("ego_exo", cfg, "train"), labels))
    mined, shuffled = found
    for head in ("verb", "noun"):
        assert shuffled[head]["pairs"] < mined[head]["pairs"]
        assert shuffled[head]["chance"] == mined[head]["chance"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (load_config(EGO_TINY).dump().encode(), "which has one view"),
        (b"\xff\xfe", "cannot read .*config.yaml as the config of a run"),
        (None, "does not exist; give the OUTPUT_DIR of a run"),
    ],
    ids=["ego only", "no text", "no run"],
)
def test_other_folders_are_refused(tmp_path: Path, content: bytes | None, part: str) -> None:
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(UserError, match=part):
        diagnose_runs([tmp_path], tmp_path / "out")


def test_a_run_without_checkpoints_is_refused(at_home, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text((at_home.output / "config.yaml").read_text())
    with pytest.raises(UserError, match="no checkpoint of a finished epoch"):
        diagnose_runs([tmp_path], tmp_path / "out", ONE_VIEW)


def test_a_list_without_labels_is_refused(at_home: FinishedRun, tmp_path: Path) -> None:
    cfg = config(at_home)
    listed = pd.read_csv(Path(cfg.DATA.PATH_TO_DATA_DIR) / cfg.TEST.DATA_LIST, dtype=str)
    unlabelled = listed.drop(columns=["verb_class", "noun_class"])
    unlabelled.to_csv(tmp_path / "unlabelled.csv", index=False)
    words = (*ONE_VIEW, "TEST.DATA_LIST", str(tmp_path / "unlabelled.csv"))
    with pytest.raises(UserError, match="has no verb labels, which the probes need"):
        diagnose_runs([at_home.output], tmp_path / "out", words)
