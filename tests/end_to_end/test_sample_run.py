"""The main job on the rendered sample, through the commands, in two real processes."""

import contextlib
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from slowfast.config import load_config
from slowfast.evaluation.predictions import read_predictions
from slowfast.utils.logging import JSON_PREFIX
from tests.browser import find_browser, visit
from tests.commands import (
    EGO_TINY,
    SHORT_RUN,
    SUML_TINY,
    assert_one_line_error,
    run_tool,
)
from tests.faults.trainings import run_here

LOSSES = {"ego_verb", "ego_noun", "exo_verb", "exo_noun", "align", "ego_text", "exo_text"}


def json_stats(output) -> list[dict]:
    lines = (output / "log.txt").read_text().splitlines()
    return [json.loads(line.split(JSON_PREFIX)[1]) for line in lines if JSON_PREFIX in line]


def test_every_loss_is_logged_by_name(suml_run):
    steps = [s for s in json_stats(suml_run.output) if s["_type"] == "train_iter"]
    assert [s["iter"] for s in steps] == ["1/4", "2/4", "3/4", "4/4"]
    for step in steps:
        assert step.keys() >= LOSSES | {"loss", "lr", "pairs_kept", "align_empty", "data_wait"}
        assert all(math.isfinite(step[name]) for name in LOSSES)


def test_it_says_what_it_trains_what_came_out_and_what_is_next(suml_run):
    """In readable lines; the numbers alone are in metrics.jsonl."""
    log = (suml_run.output / "log.txt").read_text()
    titles = ["data", "pairs", "model", "start", "devices", "batch", "schedule", "validation"]
    beginning = log[log.index("] training\n") :].splitlines()[1:11]
    assert [line.split()[0] for line in beginning] == [*titles, "checkpoints", "results"]
    assert "2 processes" in beginning[4]
    best = log[log.index("] trained\n") :].splitlines()[1]
    assert best.startswith("  best        action_top1 ")
    test = log[log.index("] test\n") :].splitlines()[1:8]
    assert [line.split()[0] for line in test] == [
        *("task", "data", "views", "model", "weights", "devices", "results")
    ]
    assert "10 ego segments" in test[1]
    assert f"python tools/report.py {suml_run.output.parent.name}/" in log[log.index("] next\n") :]
    lines = (suml_run.output / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == json_stats(suml_run.output)


def test_validation_and_scalars(suml_run):
    (validation,) = [s for s in json_stats(suml_run.output) if s["_type"] == "val_epoch"]
    assert 0 <= validation["verb_top1"] <= 100
    assert list((suml_run.output / "tensorboard").glob("events*"))


def test_results(suml_run):
    results = json.loads((suml_run.output / "results.json").read_text())
    assert results["num_segments"] == 10
    for name in ("verb_top1", "noun_top1", "action_top1", "verb_top5", "action_both_top5"):
        assert 0 <= results[name] <= 100
        assert 0 <= results[f"chance_{name}"] <= 100
    assert "top-1" in suml_run.stderr


def test_predictions(suml_run):
    predictions = read_predictions(suml_run.output / "predictions.pkl")
    assert predictions.scores["verb"].shape == (10, 6)
    assert predictions.scores["noun"].shape == (10, 8)
    assert len(set(predictions.narration_id)) == 10


def test_the_checkpoint_has_published_names(suml_run):
    path = suml_run.output / "checkpoints" / "checkpoint_epoch_00001.pyth"
    state = torch.load(path, weights_only=True)
    assert state["epoch"] == 0
    assert "s1.pathway0_stem.conv.weight" in state["model_state"]
    assert "s2_t.pathway1_res0.branch2.a.weight" in state["model_state"]
    assert "headepic100.projections.0.weight" in state["model_state"]
    assert "global_con_head.tpv_global_proj.weight" in state["model_state"]


def run_in(home: Path, cfg_file: Path, *overrides: object) -> Path:
    """A run in this process from the folder `home`; its OUTPUT_DIR."""
    with contextlib.chdir(home):
        cfg = load_config(cfg_file, [*SHORT_RUN, *map(str, overrides)])
        assert run_here(cfg) == 0
    return home / cfg.OUTPUT_DIR


def test_scores_do_not_depend_on_the_number_of_processes(suml_run):
    """The checkpoint of the dual model, tested by the plain recogniser in one process."""
    checkpoint = suml_run.output / "checkpoints" / "checkpoint_epoch_00001.pyth"
    output = run_in(
        *(suml_run.home, EGO_TINY, "TRAIN.ENABLE", "False", "OUTPUT_DIR", "runs/again"),
        *("TEST.CHECKPOINT_FILE_PATH", checkpoint),
    )
    again = read_predictions(output / "predictions.pkl")
    before = read_predictions(suml_run.output / "predictions.pkl")
    assert (again.narration_id == before.narration_id).all()
    assert (again.scores["verb"] == before.scores["verb"]).all()
    assert (again.scores["noun"] == before.scores["noun"]).all()


def test_a_longer_run_goes_on_from_the_checkpoint(sample_home):
    """Two epochs in one run give the same weights as one more epoch after the first run."""
    # A policy that does not look at MAX_EPOCH, which the two runs disagree on.
    steps = (
        *("SOLVER.LR_POLICY", "steps_with_relative_lrs"),
        *("SOLVER.STEPS", "[0]", "SOLVER.LRS", "[1.0]", "TEST.ENABLE", "False"),
    )
    states = []
    for name, epochs in (("whole", (2,)), ("parts", (1, 2))):
        for last in epochs:
            args = (*steps, "SOLVER.MAX_EPOCH", last, "OUTPUT_DIR", f"runs/{name}")
            output = run_in(sample_home, SUML_TINY, *args)
        path = output / "checkpoints" / "checkpoint_epoch_00002.pyth"
        states.append(torch.load(path, weights_only=True)["model_state"])
    assert "resumed from" in (output / "log.txt").read_text()
    whole, parts = states
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []


def test_the_exo_model_trains_and_tests_alone(sample_home):
    """Multi-label recognition on the LEMMA layout: mean average precision."""
    output = run_in(
        *(sample_home, SUML_TINY, "SOLVER.MAX_EPOCH", 1, "OUTPUT_DIR", "runs/exo"),
        *("MODEL.MODEL_NAME", "ExoSlowFast", "MODEL.LOSS_FUNC", "bce_logit"),
        *("TRAIN.DATASET", "lemma", "TEST.DATASET", "lemma", "SUML.ENABLE", "False"),
    )
    results = json.loads((output / "results.json").read_text())
    for name in ("verb_mAP", "noun_mAP", "mAP"):
        assert 0 <= results[name] <= 100
    predictions = read_predictions(output / "predictions.pkl")
    assert predictions.multi_label == {"verb", "noun"}
    state = torch.load(output / "checkpoints" / "checkpoint_epoch_00001.pyth", weights_only=True)
    assert "readout.projections.0.weight" in state["model_state"]


def run_task(suml_run, task):
    """A task on features, of the checkpoint of the dual model; OUTPUT_DIR."""
    checkpoint = suml_run.output / "checkpoints" / "checkpoint_epoch_00001.pyth"
    return run_in(
        *(suml_run.home, SUML_TINY, "TRAIN.ENABLE", "False", "OUTPUT_DIR", "runs/tasks"),
        *("TEST.CHECKPOINT_FILE_PATH", checkpoint, "TEST.TASK", task),
    )


def test_retrieval_with_the_encoder_and_the_features_it_leaves(suml_run):
    output = run_task(suml_run, "retrieval")
    results = json.loads((output / "results_retrieval.json").read_text())
    assert results["num_segments"] == 10
    assert 0 < results["num_sentences"] <= 10
    assert 0 < results["avg_nDCG"] <= 100
    with np.load(next((output / "features" / "ego").glob("part-*.npz"))) as shard:
        norms = np.linalg.norm(shard["projected"], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)


def test_cross_view_on_the_held_out_exo_segments(suml_run):
    output = run_task(suml_run, "cross_view")
    results = json.loads((output / "results_cross_view.json").read_text())
    assert (results["num_segments"], results["num_exo_segments"]) == (10, 8)
    assert 0 <= results["exo_to_ego_recall_at_1"] <= results["exo_to_ego_recall_at_10"] <= 100


def test_a_picture_of_its_clips(suml_run):
    """One clip per verb of the test list, and both sides of two pairs."""
    ended = run_tool("draw_clips.py", "runs/suml", cwd=suml_run.home)
    assert ended.returncode == 0, ended.stderr
    picture = cv2.imread(str(suml_run.output / "clips.png"))
    assert picture.shape[1] == 900
    assert picture.std() > 10


def test_a_picture_needs_a_finished_test(suml_run):
    ended = run_tool("draw_clips.py", "runs/none", cwd=suml_run.home)
    assert_one_line_error(ended, "runs/none is not a run")


# Marks of the charts, then a search among the pairs, then a table sorted by its second column.
_USE_THE_PAGE = """
const marks = [...document.querySelectorAll('.chart')].map((box) =>
  box.querySelectorAll('path.js-line, .point path, path.point, .hm image').length);
const list = document.querySelectorAll('#pair-list article');
const before = list.length;
const box = document.querySelector('#pairs').parentElement.querySelector('input[type=search]');
const word = list[0].querySelector('strong').textContent.split(' ')[0];
box.value = word; box.dispatchEvent(new Event('input'));
const texts = [...document.querySelectorAll('#pair-list article')].map((one) => one.textContent);
const table = document.querySelector('#classes').parentElement.querySelector('table');
const rows = () => [...table.querySelectorAll('tbody tr')];
const column = () => rows().map((row) => row.children[0].textContent);
table.querySelector('th button').click();
const up = column();
table.querySelector('th button').click();
return {marks, before, word, texts, up, down: column(),
  images: [...document.images].every((one) => one.alt && one.src.startsWith('data:')),
  wide: document.documentElement.scrollWidth - document.documentElement.clientWidth};
"""


def test_report_opens_in_a_browser(suml_run):
    """No console error, every chart has marks, search and sort work; no network is needed."""
    made = run_tool("report.py", "runs/suml", cwd=suml_run.home)
    assert made.returncode == 0, made.stderr[-2000:]
    page = suml_run.output / "report.html"
    assert page.stat().st_size < 10e6
    browser = find_browser()
    if browser is None:
        pytest.skip("no Chromium is installed to open the report")
    seen = visit(browser, page, _USE_THE_PAGE)
    assert seen.console == []
    found = seen.found
    assert len(found["marks"]) > 8
    assert all(found["marks"]), found["marks"]
    assert 0 < len(found["texts"]) < found["before"]
    assert all(found["word"] in text for text in found["texts"])
    assert found["up"] == sorted(found["up"])
    assert found["down"] == found["up"][::-1]
    assert found["images"]
    assert found["wide"] <= 0
