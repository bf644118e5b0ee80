"""Checkpoints that may be resumed, by the configs that they hold."""

import logging

import pytest

from slowfast.config import get_cfg
from slowfast.config.load import leaves, node
from slowfast.engine.checkpoints.compatible import FREE, check_resumable, covers, must_agree
from slowfast.utils.errors import UserError


def changed(**keys):
    """Keyword arguments are keys with __ for the dots."""
    cfg = get_cfg()
    for key, value in keys.items():
        section, _, name = key.replace("__", ".").rpartition(".")
        node(cfg, section)[name] = value
    return cfg


def test_every_free_entry_covers_a_key() -> None:
    keys = [key for key, _ in leaves(get_cfg())]
    assert [entry for entry in FREE if not any(covers(entry, key) for key in keys)] == []


def test_what_is_not_free_must_agree() -> None:
    assert must_agree("SOLVER.BASE_LR")
    assert not must_agree("SOLVER.MAX_EPOCH")
    assert not must_agree("DATA.PATH_PREFIX")
    assert must_agree("DATA.NUM_FRAMES")
    assert must_agree("TASK")
    assert must_agree("NOT_IN_THE_TABLE")


@pytest.mark.parametrize(
    "keys",
    [
        {"MODEL__NUM_CLASSES_LIST": [125, 352]},
        {"MODEL__MODEL_NAME": "SlowFast"},
        {"SOLVER__OPTIMIZING_METHOD": "adamw", "SOLVER__BASE_LR": 0.01},
        {"TRAIN__DATASET": "ego_exo", "SUML__ALIGN__KIND": "triplet"},
        {"RNG_SEED": 1, "TRAIN__BATCH_SIZE": 8},
        {"DATA__EPIC_100": True, "DATA__TRAIN_CROP_SIZE": 112, "TASK": "other"},
    ],
    ids=str,
)
def test_another_experiment_is_refused_with_all_differences(keys) -> None:
    saved, cfg = get_cfg(), changed(**keys)
    with pytest.raises(UserError) as refused:
        check_resumable(saved.dump(), cfg, "run/checkpoint_epoch_00003.pyth")
    message = str(refused.value)
    assert message.startswith("run/checkpoint_epoch_00003.pyth ")
    assert "OUTPUT_DIR" in message
    assert "\n" not in message
    old, new = dict(leaves(saved)), dict(leaves(cfg))
    for key in (key.replace("__", ".") for key in keys):
        assert f"{key} {old[key]!r} (now {new[key]!r})" in message
    assert message.count("(now ") == len(keys)


def test_free_keys_may_change(caplog: pytest.LogCaptureFixture) -> None:
    cfg = changed(
        OUTPUT_DIR="elsewhere",
        LOG_PERIOD=1,
        NUM_GPUS=4,
        TRAIN__EVAL_PERIOD=3,
        TRAIN__CHECKPOINT_PERIOD=2,
        TRAIN__CHECKPOINT_FILE_PATH="other.pyth",
        TEST__NUM_ENSEMBLE_VIEWS=2,
        DATA__PATH_PREFIX="other/folder",
        DATA_LOADER__NUM_WORKERS=1,
        DATA_LOADER__SHARED_RING=False,
        TENSORBOARD__ENABLE=True,
    )
    with caplog.at_level(logging.INFO):
        check_resumable(get_cfg().dump(), cfg, "file")
    assert caplog.messages == []


def test_other_epochs_are_allowed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check_resumable(get_cfg().dump(), changed(SOLVER__MAX_EPOCH=60), "file")
    (warning,) = caplog.messages
    assert "SOLVER.MAX_EPOCH 30, now 60" in warning
    caplog.clear()
    steps = {"SOLVER__LR_POLICY": "steps_with_relative_lrs", "SOLVER__STEPS": [0]}
    text = changed(**steps).dump()
    check_resumable(text, changed(**steps, SOLVER__MAX_EPOCH=60), "file")
    assert caplog.messages == []


def test_a_key_that_is_newer_than_the_file_had_its_default() -> None:
    saved = get_cfg()
    del saved["MODEL"]["FREEZE_STAGES"]
    check_resumable(saved.dump(), get_cfg(), "file")
    with pytest.raises(UserError, match=r"MODEL\.FREEZE_STAGES 0 \(now 5\)"):
        check_resumable(saved.dump(), changed(MODEL__FREEZE_STAGES=5), "file")


def test_another_precision_is_allowed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check_resumable(get_cfg().dump(), changed(TRAIN__PRECISION="bf16"), "file")
    (warning,) = caplog.messages
    assert "TRAIN.PRECISION fp32, now bf16" in warning
    assert "not bit for bit" in warning


SUML = {"SUML__ENABLE": True}
CACHE, LOCAL = {"SUML__GRAD_CACHE": True}, {"SUML__GATHER": False}


@pytest.mark.parametrize(
    ("saved", "before", "now", "processes"),
    [
        ({}, 2, {"SOLVER__ACCUMULATE": 2}, 1),
        ({}, 8, {"SOLVER__ACCUMULATE": 4}, 2),
        ({"SOLVER__ACCUMULATE": 4}, 1, {}, 4),
        ({**SUML}, 2, {**SUML, **CACHE, "SOLVER__ACCUMULATE": 2}, 1),
        ({**SUML, **LOCAL}, 2, {**SUML, **LOCAL, "SOLVER__ACCUMULATE": 2}, 1),
        ({**SUML, **LOCAL}, 4, {**SUML, "SOLVER__ACCUMULATE": 4}, 1),
    ],
)
def test_fewer_processes_with_the_same_parts_resume(
    saved, before, now, processes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    text, cfg = changed(**saved).dump(), changed(**now)
    check_resumable(text, cfg, "file", saved_processes=before, processes=processes)
    (line,) = caplog.messages
    assert "the parts of every batch are the same" in line
    with pytest.raises(UserError, match=r"SOLVER\.ACCUMULATE"):
        check_resumable(text, cfg, "file", processes=processes)


@pytest.mark.parametrize(
    ("saved", "before", "now", "processes"),
    [
        ({}, 2, {"SOLVER__ACCUMULATE": 4}, 1),
        ({}, 1, {"SOLVER__ACCUMULATE": 2}, 1),
        # The negatives of a gathered batch are not those of a part.
        ({**SUML}, 2, {**SUML, "SOLVER__ACCUMULATE": 2}, 1),
        ({**SUML, **LOCAL}, 2, {**SUML, **LOCAL, **CACHE, "SOLVER__ACCUMULATE": 2}, 1),
        # 3 clips of each process in parts of 2 and 1, or 6 in parts of 2.
        (
            {"TRAIN__BATCH_SIZE": 6, "SOLVER__ACCUMULATE": 2},
            2,
            {"TRAIN__BATCH_SIZE": 6, "SOLVER__ACCUMULATE": 4},
            1,
        ),
    ],
)
def test_other_parts_are_refused(saved, before, now, processes) -> None:
    text, cfg = changed(**saved).dump(), changed(**now)
    with pytest.raises(UserError, match=r"SOLVER\.ACCUMULATE"):
        check_resumable(text, cfg, "file", saved_processes=before, processes=processes)


def test_values_survive_the_text() -> None:
    """Floats, lists of lists and lists of text read back as they were."""
    cfg = changed(SOLVER__BASE_LR=1e-5, SOLVER__LRS=[1, 0.1], SUML__ALIGN__SIGMA=1.0 / 3)
    check_resumable(cfg.dump(), cfg.clone(), "file")


def test_removed_keys_are_named_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    saved = get_cfg()
    saved.MODEL.GONE = 3
    with caplog.at_level(logging.INFO):
        check_resumable(saved.dump(), get_cfg(), "file")
    assert "MODEL.GONE" in caplog.text


def test_a_published_config_is_compared_without_refusal(caplog: pytest.LogCaptureFixture) -> None:
    text = "MODEL:\n  MODEL_NAME: BiFusedModel_SF\n  TEMP: 0.06\n  ARCH: slowfast\nRNG_SEED: 0\n"
    check_resumable(text, changed(SUML__TEMPERATURE=0.5), "file")
    assert "MODEL.MODEL_NAME 'ExoSlowFast' (now 'MultiTaskSlowFast')" in caplog.text
    assert "SUML.TEMPERATURE 0.06 (now 0.5)" in caplog.text


@pytest.mark.parametrize("text", ["", "no: [yaml", "- a\n- list\n", "!!python/tuple [1]"])
def test_text_that_is_no_config_is_skipped(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        check_resumable(text, get_cfg(), "file")
    assert "file holds no config" in caplog.text
