"""A run that trains and tests on features, and the commands that look at it: no frame is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fvcore.common.config import CfgNode

from slowfast.config import load_config
from slowfast.engine.preflight.check_data import check_data
from slowfast.engine.preflight.dry_run import dry_run
from slowfast.report.page import page_content
from slowfast.report.run import load_run
from slowfast.utils.errors import UserError
from tests.commands import SHORT_RUN, SUML_TINY
from tests.datasets.features.random_features import write_features
from tests.faults.trainings import run_here
from tests.logs import untouched_log


@pytest.fixture(scope="module")
def cfg(sample_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CfgNode]:
    """Of the finished run, in its working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sample_home)
        folder = tmp_path_factory.mktemp("on_features")
        features = write_features(load_config(SUML_TINY), folder)
        names = ("OUTPUT_DIR", str(folder / "run"), "SOLVER.MAX_EPOCH", "1")
        cfg = load_config(SUML_TINY, [*SHORT_RUN, *features, *names])
        with untouched_log():
            assert run_here(cfg) == 0
        yield cfg


def _overridden(cfg: CfgNode, *words: object) -> CfgNode:
    changed: CfgNode = cfg.clone()
    changed.defrost()
    changed.merge_from_list(list(words))
    return changed


def test_the_log_says_what_is_read(cfg: CfgNode) -> None:
    log = (Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    assert "1 process without workers for data" in log
    assert "all stored ones" in log


def test_dry_run(cfg: CfgNode) -> None:
    report = dry_run(cfg)
    assert not report.mistakes
    text = str(report)
    assert "per pair of stored features" in text
    assert "10 ego segments of all stored views" in text
    assert "one step on random features: ego_verb" in text


def test_what_is_next_has_no_command_that_needs_frames(cfg: CfgNode) -> None:
    log = (Path(cfg.OUTPUT_DIR) / "log.txt").read_text()
    following = log[log.index("] next\n") :]
    assert "tools/report.py" in following
    assert "predict.py" not in following
    assert "export.py" not in following


def test_report_has_filmstrips_where_there_are_frames_and_no_grad_cam(cfg: CfgNode) -> None:
    run = load_run(Path(cfg.OUTPUT_DIR))
    (content,) = page_content([run], explain=True)["runs"]
    (reason,) = [text for text in content["missing"] if text.startswith("Grad-CAM")]
    assert "is of a model of stored features (MODEL.BACKBONE features:24)" in reason
    rows = content["examples"]["rows"]
    assert len(rows) == 10
    assert all(row["strip"] and not row["maps"] for row in rows)


@pytest.mark.parametrize(
    ("key", "reason"),
    [("DATA.PATH_PREFIX", "10 without filmstrip"), ("DATA.PATH_TO_DATA_DIR", "nowhere")],
)
def test_report_without_the_frames_or_the_lists(key: str, reason: str, cfg: CfgNode) -> None:
    run = load_run(Path(cfg.OUTPUT_DIR))
    run.cfg = _overridden(cfg, key, "nowhere", "DATA.FALLBACK_PATH_PREFIXES", [])
    (content,) = page_content([run], explain=True)["runs"]
    lost = content["examples"]["lost"] if content["examples"] else str(content["missing"])
    assert reason in lost
    assert content["results"]


def test_report_where_frames_cannot_be_opened(
    cfg: CfgNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, annotations: object) -> None:
        raise UserError("no such folder")

    run = load_run(Path(cfg.OUTPUT_DIR))
    assert run.tested is not None
    monkeypatch.setattr(type(run.tested.source), "frames", fail)
    (content,) = page_content([run], explain=True)["runs"]
    assert content["examples"] is None
    assert "best and worst predictions: no such folder" in content["missing"]


def test_check_data_reads_the_features(cfg: CfgNode) -> None:
    no_frames = _overridden(cfg, "DATA.PATH_PREFIX", "nowhere", "EXO.PATH_PREFIX", "nowhere")
    findings = check_data(no_frames, deep=True)
    assert not findings.mistakes
    assert "train ego:    features of 32 segments found" in str(findings)
    assert "no frames to decode" in str(findings)
    incomplete = _overridden(cfg, "FEATURES.EXO", cfg.FEATURES.EGO)
    (mistake,) = check_data(incomplete).mistakes
    assert "has no features in" in mistake
