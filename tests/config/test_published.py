"""Published files and override lines keep working."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg, load_config, log_notes
from slowfast.config.load import leaves
from slowfast.config.published import kind_of
from slowfast.config.published_tables import (
    ACCEPTED_VALUES,
    EXO_CHECKPOINT,
    PUBLISHED_DEFAULTS,
    RENAMED_KEYS,
)
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.utils.errors import UserError

TPV = "SUM-L/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"
TEST = "SUM-L/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101.yaml"
EPIC_55 = "Ego-Exo/ego-exo/epic-kitchen-55/Ego_Exo_SLOWFAST_8x8_R50.yaml"
STAR = "Ego-Exo/ego-exo/epic-kitchen-100/Ego_Exo_star_SLOWFAST_8x8_R101.yaml"
RELEASED = "published_release.yaml"


@pytest.fixture(scope="session")
def table(golden: Path) -> dict[str, Any]:
    """The published tree and files, as stored."""
    return json.loads((golden / "published_config.json").read_text())


@pytest.fixture(scope="session")
def files(table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files with the published content, laid out as published."""
    folder = tmp_path_factory.mktemp("published")
    paths = {name: folder / name for name in table["yaml"]}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(table["yaml"][name]))
    return paths


@pytest.fixture
def suml(tmp_path: Path) -> Path:
    """A short file under published names."""
    path = tmp_path / "published.yaml"
    content = {
        "TRAIN": {"DATASET": "epickitchen100_lemma_txt"},
        "MODEL": {"MODEL_NAME": "SlowFast_LEMMA3S_PHRASE_EP_HOI_2S", "CONTRASTIVE": True},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def flat(content: dict[str, Any]) -> dict[str, Any]:
    return dict(leaves(CfgNode(content)))


def refusal(path: Path, *overrides: object) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_every_published_key_has_its_kind(table: dict[str, Any]) -> None:
    ours = dict(leaves(get_cfg()))
    kinds = {entry["key"]: kind_of(entry["key"], ours) for entry in table["keys"]}
    assert len(kinds) == 285
    assert [key for key, kind in kinds.items() if kind == "unknown"] == []
    for entry in table["keys"]:
        if kinds[entry["key"]] == "ignored" and entry["read_by_some_code"]:
            section = entry["key"].partition(".")[0]
            assert section in {
                "AVA",
                "BENCHMARK",
                "CHR_TRANS",
                "DEMO",
                "LOG_MODEL_INFO",
                "NONLOCAL",
            }


def test_accepted_values_begin_with_the_published_default(table: dict[str, Any]) -> None:
    defaults = {entry["key"]: entry["default"] for entry in table["keys"]}
    for key, accepted in ACCEPTED_VALUES.items():
        if not key.startswith("KD."):
            assert accepted[0] == defaults[key], key


def test_published_defaults_are_those_of_the_table(table: dict[str, Any]) -> None:
    published = {entry["key"]: entry["default"] for entry in table["keys"]}
    ours = dict(leaves(get_cfg()))
    for key, value in PUBLISHED_DEFAULTS.items():
        assert published[key] == value
    named_ours = {
        # Names of files, folders and data sets; empty or of data sets that are not available.
        "DATA.PATH_PREFIX", "DATA.PATH_TO_DATA_DIR", "OUTPUT_DIR", "TEST.DATASET", "TEST.DATA_LIST",
        "TEST.SAVE_PREDICT_PATH", "TRAIN.DATASET", "TRAIN.TRAIN_DATA_LIST", "TRAIN.VAL_DATA_LIST",
        # One pathway or no head at all there, which nothing could use.
        "MODEL.NUM_CLASSES_LIST", "RESNET.NUM_BLOCK_TEMP_KERNEL", "RESNET.SPATIAL_DILATIONS",
        "RESNET.SPATIAL_STRIDES",
    }  # fmt: skip
    differing = {key for key, value in published.items() if key in ours and ours[key] != value}
    assert differing - set(PUBLISHED_DEFAULTS) == named_ours


def test_renamed_keys_lead_to_keys_of_ours() -> None:
    ours = dict(leaves(get_cfg()))
    assert set(RENAMED_KEYS.values()) <= set(ours)
    assert not set(RENAMED_KEYS) & set(ours)


def test_every_published_file_loads_unmodified(
    files: dict[str, Path], table: dict[str, Any]
) -> None:
    ours = set(dict(leaves(get_cfg())))
    for name, path in files.items():
        cfg = load_config(path)
        got = dict(leaves(cfg))
        content = flat({k: v for k, v in table["yaml"][name].items() if k != "_BASE_"})
        for key in ours & set(content) - {"MODEL.MODEL_NAME", "TRAIN.DATASET", "TEST.DATASET"}:
            wanted = float(content[key]) if key == "SOLVER.WEIGHT_DECAY" else content[key]
            assert got[key] == wanted, (name, key)


def test_published_training_file_under_our_names(files: dict[str, Path]) -> None:
    cfg = load_config(files[TPV])
    assert cfg.MODEL.MODEL_NAME == "EgoExoSlowFast"
    assert cfg.TRAIN.DATASET == "ego_exo"
    assert cfg.TEST.DATASET == "epickitchen"
    assert cfg.SUML.ENABLE is True
    assert cfg.SUML.EMBED_DIM == 384
    assert cfg.SUML.TEMPERATURE == 0.06
    assert dict(cfg.SUML.WEIGHTS) == {
        "EXO_CLS": 0.1,
        "ALIGN": 0.02,
        "EGO_TEXT": 0.1,
        "EXO_TEXT": 0.1,
    }
    assert (cfg.SUML.ALIGN.THRESHOLD, cfg.SUML.ALIGN.SIGMA) == (0.5, 0.1)
    assert cfg.SUML.ALIGN.KIND == "dcl"
    assert cfg.EXO.CHECKPOINT_FILE_PATH == ""
    assert (cfg.EXO.NUM_FRAMES, cfg.EXO.SAMPLING_RATE) == (32, 2)
    validate_run(cfg)


def test_the_stored_override_lines_of_the_reference_models_load(
    golden: Path, files: dict[str, Path]
) -> None:
    """Overrides as the manifests list them: some values are not text."""
    loaded = 0
    for manifest in sorted(golden.glob("manifest_*.json")):
        stored = json.loads(manifest.read_text())
        path = files.get(stored["config_file"].replace("/configs/", "/"))
        if path is not None and "BiFusedModel_S" not in stored["overrides"]:
            cfg = load_config(path, stored["overrides"])
            got = dict(leaves(cfg))
            assert all(got[key] == stored["config"][key] for key in ("RESNET.DEPTH", "TASK"))
            loaded += 1
    assert loaded >= 4
    exo = load_config(files[TPV], ["MODEL.MODEL_NAME", "BiFusedModel_SF"])
    assert exo.MODEL.MODEL_NAME == "ExoSlowFast"


def test_published_override_lines(files: dict[str, Path], table: dict[str, Any]) -> None:
    for line in table["override_lines"]:
        key, value = line.split()
        assert dict(leaves(load_config(files[TEST], [key, value])))[key] == value


def test_our_files_agree_with_the_published_ones(files: dict[str, Path], root: Path) -> None:
    """Apart from lists as CSV, folders, one clip count per run and our longer training."""
    own_way = {
        "TRAIN.TRAIN_DATA_LIST", "TRAIN.VAL_DATA_LIST", "TEST.DATA_LIST", "OUTPUT_DIR", "NUM_GPUS",
        "RNG_SEED", "TRAIN.BATCH_SIZE", "TRAIN.EVAL_PERIOD", "DATA.FALLBACK_PATH_PREFIXES",
        "SUML.PAIRS.FILE", "TENSORBOARD.ENABLE", "SOLVER.MAX_EPOCH", "COMPUTED_NOTES",
    }  # fmt: skip
    unused = {key for key in dict(leaves(get_cfg())) if key.startswith("SUML.")}
    for published, ours in (
        (TEST, "epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101.yaml"),
        (TPV, "epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"),
        (EPIC_55, "epic-kitchen-55/Ego_Exo_SLOWFAST_8x8_R50.yaml"),
        (TEST.replace("SUM-L", "Ego-Exo/ego-exo").replace("R101", "R50"),
         "epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R50.yaml"),
    ):  # fmt: skip
        theirs = dict(leaves(load_config(files[published])))
        here = dict(leaves(load_config(root / "configs" / ours)))
        skipped = own_way | (unused if published != TPV else set())
        differing = {k for k in theirs.keys() | here.keys() if theirs.get(k) != here.get(k)}
        assert differing <= skipped, (published, differing - skipped)


def test_a_key_left_out_of_a_published_file_means_the_published_default(suml: Path) -> None:
    cfg = load_config(suml)
    assert (cfg.SUML.ENABLE, cfg.SUML.EMBED_DIM, cfg.SUML.TEMPERATURE) == (True, 768, 0.07)
    assert set(cfg.SUML.WEIGHTS.values()) == {0.0}
    assert (cfg.SUML.ALIGN.THRESHOLD, cfg.SUML.ALIGN.SIGMA) == (0.8, 0.5)
    assert (cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.SLOWFAST.ALPHA) == (8, 8, 8)
    assert (cfg.EXO.NUM_FRAMES, cfg.EXO.SAMPLING_RATE) == (8, 8)
    assert cfg.SOLVER.MAX_EPOCH == 300


def test_a_file_of_ours_with_a_published_name_keeps_our_defaults(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("SUML: {ENABLE: True}\nMODEL: {TEMP: 0.05, ARCH: slowfast}\n")
    cfg = load_config(path)
    assert cfg.SUML.TEMPERATURE == 0.05
    assert cfg.SUML.WEIGHTS.ALIGN == get_cfg().SUML.WEIGHTS.ALIGN
    assert cfg.DATA.NUM_FRAMES == get_cfg().DATA.NUM_FRAMES


def test_our_training_file_below_a_published_name_keeps_its_values(
    tmp_path: Path, root: Path
) -> None:
    base = root / "configs/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml"
    path = tmp_path / "own.yaml"
    path.write_text(f"_BASE_: {base}\nMODEL: {{TEMP: 0.05}}\n")
    ours, cfg = dict(leaves(load_config(base))), dict(leaves(load_config(path)))
    differing = {key for key in cfg if cfg[key] != ours.get(key)}
    assert differing == {"SUML.TEMPERATURE", "COMPUTED_NOTES"}


def test_published_names_in_overrides_of_our_files(root: Path) -> None:
    cfg = load_config(
        root / "configs/epic-kitchen-100/Ego_Exo_SLOWFAST_8x8_R101_TPV.yaml",
        ["MODEL.L_CON", "0.5", "MODEL.TEMP", "1", "TRAIN.DATASET", "epickitchen_lemma_txt"],
    )
    assert (cfg.SUML.WEIGHTS.ALIGN, cfg.SUML.TEMPERATURE) == (0.5, 1.0)
    assert cfg.SUML.WEIGHTS.EXO_CLS == 0.1
    assert cfg.TRAIN.DATASET == "ego_exo"


def test_one_clip_length_for_both_views_in_a_published_file(suml: Path) -> None:
    cfg = load_config(suml, ["DATA.NUM_FRAMES", "16"])
    assert (cfg.DATA.NUM_FRAMES, cfg.EXO.NUM_FRAMES) == (16, 16)
    cfg = load_config(suml, ["EXO.NUM_FRAMES", "24", "DATA.NUM_FRAMES", "16"])
    assert (cfg.DATA.NUM_FRAMES, cfg.EXO.NUM_FRAMES) == (16, 24)


def test_exo_checkpoint_is_taken_only_where_it_exists(
    suml: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_config(suml, [EXO_CHECKPOINT, ""]).EXO.CHECKPOINT_FILE_PATH == ""
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert load_config(suml, [EXO_CHECKPOINT, "no/file.pyth"]).EXO.CHECKPOINT_FILE_PATH == ""
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "TRAIN.LEMMA_CKPT no/file.pyth" in warning
    assert "EXO.CHECKPOINT_FILE_PATH" in warning
    there = tmp_path / "lemma.pyth"
    there.touch()
    taken = load_config(suml, [EXO_CHECKPOINT, str(there)]).EXO.CHECKPOINT_FILE_PATH
    assert taken == str(there)
    url = "https://host/lemma.pyth"
    assert url == load_config(suml, [EXO_CHECKPOINT, url]).EXO.CHECKPOINT_FILE_PATH


def test_log_says_once_what_was_mapped_and_ignored(
    files: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cfg = load_config(files[TPV], ["LOG_MODEL_INFO", "False", "MODEL.MULTI_CLASS", "True"])
    lines = [record.getMessage() for record in caplog.records]
    begun = Counter(line.partition(":")[0] for line in lines)
    assert begun["published names mapped"] == 1
    assert begun["published keys without effect, ignored"] == 1
    assert begun["this trains the method of the paper"] == 1
    (mapped,) = [line for line in lines if line.startswith("published names mapped")]
    for old, new in RENAMED_KEYS.items():
        assert f"{old} -> {new}" in mapped
    assert "MODEL.MODEL_NAME SlowFast_LEMMA3S_PHRASE_EP_HOI_2S -> EgoExoSlowFast" in mapped
    (ignored,) = [line for line in lines if "ignored" in line and "LEMMA_CKPT" not in line]
    assert ignored.count("MODEL.MULTI_CLASS") == 1
    assert "LOG_MODEL_INFO" in ignored
    (method,) = [line for line in lines if line.startswith("this trains the method")]
    assert "MODEL.L_CON, MODEL.DCL_THRES, MODEL.DCL_SIGMA had no effect" in method
    assert RELEASED in method

    caplog.clear()
    log_notes(CfgNode.load_cfg(cfg.dump()))
    assert [record.getMessage() for record in caplog.records] == lines


def test_notes_wait_for_a_log(suml: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("slowfast")
    caplog.set_level(logging.INFO)
    try:
        log.propagate = False
        cfg = load_config(suml)
    finally:
        log.propagate = True
    assert caplog.records == []
    assert len(cfg.COMPUTED_NOTES) >= 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.ARCH", "i3d"),
        ("DATA.INPUT_CHANNEL_NUM", "[3]"),
        ("RESNET.TRANS_FUNC", "basic_transform"),
        ("RESNET.STRIDE_1X1", "true"),
        ("NONLOCAL.LOCATION", "[[[], []], [[1, 3], []], [[], []], [[], []]]"),
        ("DETECTION.ENABLE", "True"),
        ("MULTIGRID.LONG_CYCLE", "True"),
        ("MULTIGRID.SHORT_CYCLE", "True"),
        ("KD.ENABLE", "True"),
        ("BN.NUM_SYNC_DEVICES", "8"),
        ("DEMO.ENABLE", "True"),
    ],
)
def test_what_is_not_supported_is_refused(suml: Path, key: str, value: str) -> None:
    line = refusal(suml, key, value)
    assert line.startswith(f"command line: {key} {value!r} is not supported; remove the key or")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.ARCH", "slowfast"),
        ("RESNET.STRIDE_1X1", "FALSE"),
        ("NONLOCAL.LOCATION", "[[[]], [[]], [[]], [[]]]"),
        ("NONLOCAL.LOCATION", "[[[], []], [[], []], [[], []], [[], []]]"),
        ("NONLOCAL.INSTANTIATION", "softmax"),
        ("DETECTION.ENABLE", "False"),
        ("KD.ENABLE", False),
        ("AVA.FRAME_DIR", "some/folder"),
        ("MODEL.L_K400", "3"),
        ("HANDOBJ.HEAD_NUM_CONV", "1"),
    ],
)
def test_what_changes_nothing_is_accepted(suml: Path, key: str, value: object) -> None:
    plain, cfg = dict(leaves(load_config(suml))), dict(leaves(load_config(suml, [key, value])))
    plain.pop("COMPUTED_NOTES")
    cfg.pop("COMPUTED_NOTES")
    assert cfg == plain


def test_wrong_type_of_a_published_key_names_both_names(suml: Path) -> None:
    assert refusal(suml, "MODEL.TEMP", "warm").startswith(
        "command line: MODEL.TEMP (here SUML.TEMPERATURE) is 'warm', but its type is float"
    )


def test_two_names_for_one_key_may_not_disagree(suml: Path, tmp_path: Path) -> None:
    line = refusal(suml, "MODEL.TEMP", "0.1", "SUML.TEMPERATURE", "0.2")
    assert (
        "SUML.TEMPERATURE is set twice, as MODEL.TEMP '0.1' and as SUML.TEMPERATURE '0.2'" in line
    )
    assert load_config(suml, ["MODEL.TEMP", "0.1", "SUML.TEMPERATURE", "0.1"])
    assert load_config(suml, ["MODEL.TEMP", "0.1", "MODEL.TEMP", "0.2"]).SUML.TEMPERATURE == 0.2


def test_hand_object_model_tests_but_does_not_train(files: dict[str, Path]) -> None:
    cfg = load_config(files[STAR])
    assert (cfg.MODEL.MODEL_NAME, cfg.TEST.DATASET) == ("MultiTaskSlowFast", "epickitchen")
    with pytest.raises(UserError, match=r"HANDOBJ\.ENABLE True with TRAIN\.ENABLE True"):
        validate_run(cfg)
    validate_run(load_config(files[STAR], ["TRAIN.ENABLE", "False"]))
    plain = load_config(files[STAR.replace("star_", "")])
    assert plain.HANDOBJ.ENABLE is False
    validate_run(plain)
    named = load_config(files[TEST], ["MODEL.MODEL_NAME", "HandObjMultiTaskSlowFastHSlow"])
    assert named.HANDOBJ.ENABLE is True
