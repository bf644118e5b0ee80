"""A run that is stopped and resumed ends bit for bit like an uninterrupted one."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slowfast.engine.preflight.dry_run import dry_run
from slowfast.engine.processes.output_lock import OutputLock, output_lock
from slowfast.engine.step.update import Update
from slowfast.semantics.build import mine_from_config
from slowfast.tasks.ego_exo_alignment import EgoExoAlignmentTask
from slowfast.utils.errors import UserError
from tests.datasets.features.random_features import write_features
from tests.faults.trainings import (
    STEPS,
    assert_same_training,
    logged_numbers,
    run_here,
    signal_in_step,
    training_cfg,
)

# Where each part of the run is asked to stop: (epoch, step), counted from 0.
TWICE_IN_ONE_EPOCH = ((0, 0), (0, 1), (1, 3))


# Loss of the steps up to each log line, and its parts in the first. A change of numbers anywhere
# between the frames and the weights shows here. Other processors add up in another order, which
# eight steps amplify: 1e-3 is far above that and far below what a
# changed crop, mask or learning rate does.
GOLDEN = {"1/2 3/4": 8.50259, "1/2 4/4": 6.69236, "2/2 3/4": 6.75338, "2/2 4/4": 6.51181}
GOLDEN_PARTS = {
    **{"ego_verb": 1.79252, "ego_noun": 2.07599, "exo_verb": 0.681137, "exo_noun": 0.689782},
    **{"align": 19.6671, "ego_text": 20.5099, "exo_text": 20.5265, "pairs_kept": 0.75},
}


def test_the_loss_curve_of_a_short_training(whole_run):
    steps = {
        f"{epoch} {iteration}": stats
        for (kind, epoch, iteration), stats in logged_numbers(whole_run).items()
        if kind == "train_iter"
    }
    losses = {place: stats["loss"] for place, stats in steps.items()}
    assert losses == pytest.approx(GOLDEN, rel=1e-3)
    parts = {name: steps["1/2 3/4"][name] for name in GOLDEN_PARTS}
    assert parts == pytest.approx(GOLDEN_PARTS, rel=1e-3)


@pytest.mark.parametrize("workers", [0, 3])
def test_stopped_by_signals(sample_home, whole_run, monkeypatch, workers):
    monkeypatch.chdir(sample_home)
    output = f"runs/stopped_{workers}"
    cfg = training_cfg(output, "DATA_LOADER.NUM_WORKERS", workers)
    signals = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    for (epoch, iteration), signum in zip(TWICE_IN_ONE_EPOCH, signals, strict=True):
        with monkeypatch.context() as patched:
            signal_in_step(patched, epoch, iteration, signum)
            assert run_here(cfg) == (130 if signum == signal.SIGINT else 143)
        name = f"checkpoint_epoch_{epoch:05d}_iter_{iteration + 1:07d}.pyth"
        assert Path(output, "checkpoints", name).is_file()
    assert run_here(cfg) == 0
    assert_same_training(Path(output), whole_run)


# Every option of a step that has its own state, and what a step is made of.
OPTIONS = (
    *("SOLVER.EMA_DECAY", 0.9, "BN.USE_PRECISE_STATS", False, "SOLVER.FUSED", "always"),
    *("SOLVER.ACCUMULATE", 2, "SUML.GRAD_CACHE", True, "SOLVER.CLIP_GRAD_L2NORM", 5.0),
    *("SUML.QUEUE.SIZE", 8, "SUML.QUEUE.MOMENTUM", 0.9, "SUML.EXO_STREAM", True),
)


def test_stopped_with_options_that_have_a_state(sample_home, monkeypatch):
    monkeypatch.chdir(sample_home)
    assert run_here(training_cfg("runs/options", *OPTIONS)) == 0
    cfg = training_cfg("runs/options_stopped", *OPTIONS)
    with monkeypatch.context() as patched:
        signal_in_step(patched, 1, 1, signal.SIGTERM)
        assert run_here(cfg) == 143
    assert run_here(cfg) == 0
    assert_same_training(Path("runs/options_stopped"), Path("runs/options"))


def test_stopped_with_two_exo_sets(sample_home, tmp_path, monkeypatch):
    """Each with a weight, heads and labels of its own; the queue holds clips of both."""
    monkeypatch.chdir(sample_home)
    (tmp_path / "wall").symlink_to((sample_home / "data/sample/lemma").resolve())
    wall = {"NAME": "wall", "PATH_TO_DATA_DIR": str(tmp_path / "wall")}
    sets = (
        *("EXO.MORE", [wall], "EXO.WEIGHTS", [1, 2], "SUML.NEGATIVES", "drop_same_label"),
        *("SUML.PAIRS.FILE", tmp_path / "pairs.npz", "SUML.QUEUE.SIZE", 8),
        *("BN.USE_PRECISE_STATS", False, "DATA.TRAIN_JITTER_SCALES", [32, 40]),
        *("DATA.TRAIN_CROP_SIZE", 32, "DATA.TEST_CROP_SIZE", 32),
    )
    cfg = training_cfg("runs/two_sets", *sets)
    mine_from_config(cfg)
    assert run_here(cfg) == 0
    stopped = training_cfg("runs/two_sets_stopped", *sets)
    for epoch, iteration in ((0, STEPS - 1), (1, 1)):
        with monkeypatch.context() as patched:
            signal_in_step(patched, epoch, iteration, signal.SIGTERM)
            assert run_here(stopped) == 143
    assert run_here(stopped) == 0
    assert_same_training(Path("runs/two_sets_stopped"), Path("runs/two_sets"))
    seen = set().union(*logged_numbers(Path("runs/two_sets")).values())
    assert {"exo_verb", "exo_wall_verb"} <= seen
    assert "exo clips of lemma, lemma;" in Path("runs/two_sets/log.txt").read_text()


def test_stopped_in_a_validation(sample_home, whole_run, monkeypatch):
    monkeypatch.chdir(sample_home)
    pictures = ("TENSORBOARD.PAIRS", 1, "TENSORBOARD.CONFUSION_MATRIX.ENABLE", True)
    cfg = training_cfg("runs/stopped_validating", "TENSORBOARD.ENABLE", True, *pictures)
    evaluate = EgoExoAlignmentTask.evaluate

    def signalled(self, model, batch):
        signal.raise_signal(signal.SIGTERM)
        return evaluate(self, model, batch)

    with monkeypatch.context() as patched:
        patched.setattr(EgoExoAlignmentTask, "evaluate", signalled)
        assert run_here(cfg) == 143
    checkpoints = Path("runs/stopped_validating/checkpoints")
    assert [path.name for path in checkpoints.iterdir()] == [
        f"checkpoint_epoch_00000_iter_{STEPS:07d}.pyth"
    ]
    assert run_here(cfg) == 0
    assert_same_training(Path("runs/stopped_validating"), whole_run)
    steps = scalar_steps(Path("runs/stopped_validating"))
    assert steps["train/loss"] == [3, 4, 7, 8]
    for tag in ("train_epoch/loss", "val/verb_top1"):
        assert steps[tag] == [STEPS, 2 * STEPS]
    drawn = scalar_steps(Path("runs/stopped_validating"), "images")
    assert drawn["val_confusion/verb"] == [STEPS, 2 * STEPS]
    # Those of the first epoch were drawn by the run that was stopped before it wrote them.
    assert drawn["pairs/0"] == [2 * STEPS]


class Lost(Exception):
    """Simulates a killed process: it writes no further checkpoint."""


def scalar_steps(output: Path, kind: str = "scalars") -> dict[str, list[int]]:
    """Steps of every scalar (or of the `images`), as TensorBoard shows them."""
    events = EventAccumulator(str(output / "tensorboard"), size_guidance={kind: 0})
    events.Reload()
    read = events.Images if kind == "images" else events.Scalars
    return {tag: [e.step for e in read(tag)] for tag in events.Tags()[kind]}


@pytest.mark.parametrize(("period", "steps_done"), [(0, 0), (2, 2)])
def test_killed_between_two_checkpoints(sample_home, whole_run, monkeypatch, period, steps_done):
    """Without a signal, the run resumes from the file of the epoch or of its last period."""
    monkeypatch.chdir(sample_home)
    output = Path(f"runs/lost_{period}")
    settings = ("TRAIN.CHECKPOINT_PERIOD_ITERS", period, "TENSORBOARD.ENABLE", True)
    cfg = training_cfg(str(output), *settings, "LOG_PERIOD", 1)

    call = Update.__call__

    def lost(self, batch, epoch, iteration):
        if (epoch, iteration) == (1, 3):
            raise Lost
        return call(self, batch, epoch, iteration)

    with monkeypatch.context() as patched:
        patched.setattr(Update, "__call__", lost)
        with pytest.raises(Lost):
            run_here(cfg)
    assert run_here(cfg) == 0
    assert f"1 epoch(s) and {steps_done} step(s) are done" in (output / "log.txt").read_text()
    assert_same_training(output, whole_run, logged=False)
    steps = scalar_steps(output)
    assert steps["train/loss"] == list(range(1, 2 * STEPS + 1))
    for tag in ("train_epoch/loss", "val/verb_top1"):
        assert steps[tag] == [STEPS, 2 * STEPS]


def test_a_step_that_was_not_finite_is_not_forgotten_by_a_stop(sample_home, monkeypatch):
    """The stop comes before the log line that reports the step; the resumed run logs it."""
    monkeypatch.chdir(sample_home)
    cfg = training_cfg("runs/stopped_nan", "SOLVER.MAX_EPOCH", 1)
    losses = EgoExoAlignmentTask.losses

    def not_a_number(self, output, batch, epoch, iteration):
        step = losses(self, output, batch, epoch, iteration)
        if iteration == 0:
            step.losses["align"] = step.losses["align"] * float("nan")
            step.total = step.total * float("nan")
        return step

    with monkeypatch.context() as patched:
        patched.setattr(EgoExoAlignmentTask, "losses", not_a_number)
        signal_in_step(patched, 0, 1, signal.SIGTERM)
        assert run_here(cfg) == 143
    with pytest.raises(UserError, match="epoch 1, step 1: align on rank 0"):
        run_here(cfg)


def test_nothing_is_written_where_another_training_has_taken_over(sample_home, monkeypatch):
    monkeypatch.chdir(sample_home)

    def taken(self):
        raise UserError("taken over")

    monkeypatch.setattr(OutputLock, "check", taken)
    with pytest.raises(UserError, match="taken over"):
        run_here(training_cfg("runs/taken", "SOLVER.MAX_EPOCH", 1))
    assert not Path("runs/taken/checkpoints").exists()


def test_stopped_on_features(sample_home, monkeypatch, tmp_path):
    """Also refuses to resume with other features."""
    monkeypatch.chdir(sample_home)
    overrides = [*write_features(training_cfg("unused"), tmp_path), "MODEL.PROBE", "attentive"]
    assert run_here(training_cfg("runs/features", *overrides)) == 0
    cfg = training_cfg("runs/features_stopped", *overrides)
    with monkeypatch.context() as patched:
        signal_in_step(patched, 1, 1, signal.SIGTERM)
        assert run_here(cfg) == 143
    kept = (tmp_path / "exo" / "train.npz").read_bytes()
    arrays = dict(np.load(tmp_path / "exo" / "train.npz"))
    np.savez(tmp_path / "exo" / "train.npz", **{**arrays, "views": -arrays["views"]})
    with pytest.raises(UserError, match="have changed since: training exo features"):
        run_here(cfg)
    (tmp_path / "exo" / "train.npz").write_bytes(kept)
    assert run_here(cfg) == 0
    assert_same_training(Path("runs/features_stopped"), Path("runs/features"))


def test_a_dry_run_reports_a_finished_training_and_a_lock(sample_home, whole_run, monkeypatch):
    monkeypatch.chdir(sample_home)
    cfg = training_cfg(str(whole_run))
    with output_lock(whole_run):
        locked = str(dry_run(cfg))
    assert f"refused while process {os.getpid()} on" in locked
    free = str(dry_run(cfg))
    assert "refused" not in free
    assert "2 epochs done, nothing is left to train" in free
    longer = str(dry_run(training_cfg(str(whole_run), "SOLVER.MAX_EPOCH", 3)))
    assert "2 epochs done\n" in longer
