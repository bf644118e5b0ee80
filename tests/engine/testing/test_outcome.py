"""Output of a test run: the official values, and those by the public scorer's arithmetic."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg
from slowfast.datasets.types import Segment
from slowfast.engine.testing.outcome import write_outcome
from slowfast.engine.testing.view_scoring import SegmentScores
from tests.evaluation.verb_noun import verb_noun_heads

COUNT = 12


def _cfg(folder: Path, scorer_compat: bool) -> CfgNode:
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(folder)
    cfg.DATA.PATH_TO_DATA_DIR = str(folder)
    cfg.DATA.EPIC_100 = True
    cfg.TEST.NO_ACT = True
    cfg.TEST.SCORER_COMPAT = scorer_compat
    return cfg


def _run(folder: Path, scorer_compat: bool, outlier: float) -> dict:
    """Results of right logits, one segment of which is `outlier` times as large."""
    segments, scored = [], []
    for index in range(COUNT):
        verb, noun = index % 4, index % 5
        logits = [np.linspace(0, 1, k) for k in (6, 7)]
        for head, label in zip(logits, (verb, noun), strict=True):
            head[label] = 5.0
            head *= outlier if index == 0 else 1.0
        probabilities = [np.exp(x) / np.exp(x).sum() for x in logits]
        labels = [np.array(verb), np.array(noun)]
        scored.append(SegmentScores(logits, probabilities, labels))
        segments.append(Segment(f"P01_01_{index}", "P01_01", "P01", 1, 9, "x", ((verb,), (noun,))))
    heads = verb_noun_heads(6, 7)
    write_outcome(_cfg(folder, scorer_compat), heads, segments, scored)
    return json.loads((folder / "results.json").read_text())


def test_the_scorers_arithmetic_is_asked_for(tmp_path: Path) -> None:
    assert "scorer_compat" not in _run(tmp_path, False, 1.0)
    assert (tmp_path / "predictions.pkl").is_file()


def test_both_are_written_where_they_agree(tmp_path: Path) -> None:
    results = _run(tmp_path, True, 1.0)
    assert results["scorer_compat"]["values"] == results["official"]
    assert results["scorer_compat"]["differing"] == []


def test_where_they_differ_both_are_printed_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One segment with logits up to 500: the others underflow in a soft-max over all of them."""
    caplog.set_level(logging.INFO, logger="slowfast")
    results = _run(tmp_path, True, 100.0)
    theirs = results["scorer_compat"]
    assert results["official"]["all_action_accuracy_at_1"] == 100.0
    assert theirs["values"]["all_action_accuracy_at_1"] < 100.0
    assert "all_action_accuracy_at_1" in theirs["differing"]
    assert theirs["values"]["all_verb_accuracy_at_1"] == 100.0
    assert "one soft-max over all segments" in caplog.text
    assert "all_action_accuracy_at_1" in caplog.text
