"""Files, bases, overrides and types."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fvcore.common.config import CfgNode

from slowfast.config import get_cfg, load_config
from slowfast.config.defaults import PATHS
from slowfast.config.load import leaves, nearest
from slowfast.config.values import COMMAND_LINE, Setting, typed
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.utils.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Neither the parts of configs nor the plans of ablations.
SHIPPED = sorted(
    p.relative_to(CONFIGS)
    for p in CONFIGS.rglob("*.yaml")
    if p.parent.name not in ("_base_", "ablation")
)
ON_A_BASE = [name for name in SHIPPED if "_BASE_" in (CONFIGS / name).read_text()]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "cfg.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def refusal(path: Path, *overrides: object) -> str:
    """The one-line error of a failed load."""
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", SHIPPED, ids=str)
def test_shipped_config_loads_and_may_run(name: Path) -> None:
    cfg = load_config(CONFIGS / name)
    validate_run(cfg)
    assert cfg.is_frozen()
    # The only note is about the released schedule, which ends before its steps.
    notes = [text for _, text in cfg.get("COMPUTED_NOTES", ())]
    assert all(text.startswith("SOLVER.STEPS") for text in notes), "a published name is used"
    assert not Path(cfg.OUTPUT_DIR).is_absolute()


@pytest.mark.parametrize("name", SHIPPED, ids=str)
def test_shipped_config_opens_with_its_purpose_and_command(name: Path) -> None:
    comment = []
    for line in (CONFIGS / name).read_text().splitlines():
        if not line.startswith("#"):
            break
        comment.append(line)
    assert f"--cfg configs/{name}" in "\n".join(comment) or f"CFG=configs/{name}" in str(comment)


@pytest.mark.parametrize("name", ON_A_BASE, ids=str)
def test_shipped_yaml_states_only_what_differs_from_its_base(name: Path, tmp_path: Path) -> None:
    path = CONFIGS / name
    own = yaml.safe_load(path.read_text())
    bases = own.pop("_BASE_")
    bases = [bases] if isinstance(bases, str) else bases
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump({"_BASE_": [str(path.parent / b) for b in bases]}))
    below = dict(leaves(load_config(base)))
    assert {key for key, value in leaves(CfgNode(own)) if below[key] == value} == set()


def test_defaults_are_valid_as_they_stand(write: Write) -> None:
    assert dict(leaves(load_config(write("")))) == dict(leaves(get_cfg()))


def test_file_goes_over_its_bases_and_overrides_over_the_file(write: Write, tmp_path: Path) -> None:
    write("TRAIN: {BATCH_SIZE: 1}\nLOG_PERIOD: 1\nRNG_SEED: 1\nSHARD_ID: 0\n", "first.yaml")
    write("LOG_PERIOD: 2\nRNG_SEED: 2\n", "second.yaml")
    (tmp_path / "sub").mkdir()
    child = write("_BASE_: [../first.yaml, ../second.yaml]\nRNG_SEED: 3\n", "sub/child.yaml")
    cfg = load_config(child, ["RNG_SEED", "4", "RNG_SEED", "5"])
    assert (cfg.TRAIN.BATCH_SIZE, cfg.LOG_PERIOD, cfg.RNG_SEED) == (1, 2, 5)
    assert cfg.TRAIN.EVAL_PERIOD == get_cfg().TRAIN.EVAL_PERIOD


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("SOLVER.BASE_LR", "1", 1.0),
        ("SOLVER.BASE_LR", "1e-4", 1e-4),
        ("SOLVER.BASE_LR", 2, 2.0),
        ("TRAIN.ENABLE", "false", False),
        ("TRAIN.ENABLE", "FALSE", False),
        ("TEST.NO_ACT", "True", True),
        ("TEST.NO_ACT", "tRUE", True),
        ("DATA.NUM_FRAMES", "64", 64),
        ("DATA.MEAN", "[0, 0.5, 1]", [0.0, 0.5, 1.0]),
        ("DATA.MEAN", "0,0.5,1", [0.0, 0.5, 1.0]),
        ("MODEL.NUM_CLASSES_LIST", "(3, 4)", [3, 4]),
        ("MODEL.NUM_CLASSES_LIST", [3, 4], [3, 4]),
        ("DATA.FALLBACK_PATH_PREFIXES", "[some/path, other/path]", ["some/path", "other/path"]),
        ("DATA.FALLBACK_PATH_PREFIXES", "[]", []),
        ("OUTPUT_DIR", "2024", "2024"),
        ("OUTPUT_DIR", "'quoted'", "quoted"),
        ("TASK", "1e5", "1e5"),
        ("TRAIN.CHECKPOINT_FILE_PATH", "", ""),
    ],
)
def test_override_takes_the_type_of_its_key(
    write: Write, key: str, text: object, value: Any
) -> None:
    got = dict(leaves(load_config(write(""), [key, text])))[key]
    assert got == value
    assert type(got) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in got] == [type(item) for item in value]


def test_yaml_values_take_the_type_of_their_keys(write: Write) -> None:
    cfg = load_config(
        write(
            "SOLVER:\n  WEIGHT_DECAY: 1e-4\n  BASE_LR: 1\n  LR_POLICY: steps_with_relative_lrs\n"
            "  STEPS: [0, 2.5]\n  LRS: [1, 1e-2]\nTRAIN:\n  ENABLE: 'FALSE'\nTASK: \n  epic100\n"
        )
    )
    assert cfg.SOLVER.WEIGHT_DECAY == 1e-4
    assert isinstance(cfg.SOLVER.BASE_LR, float)
    assert cfg.SOLVER.STEPS == [0, 2.5]
    assert cfg.SOLVER.LRS == [1, 0.01]
    assert cfg.TRAIN.ENABLE is False
    assert cfg.TASK == "epic100"


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("TRAIN.BATCH_SIZE", "many", "int"),
        ("TRAIN.BATCH_SIZE", "2.5", "int"),
        ("TRAIN.BATCH_SIZE", "True", "int"),
        ("SOLVER.BASE_LR", "fast", "float"),
        ("SOLVER.BASE_LR", "nan", "float"),
        ("SOLVER.BASE_LR", True, "float"),
        ("TRAIN.ENABLE", "1", "bool"),
        ("TRAIN.ENABLE", "yes", "bool"),
        ("DATA.MEAN", "0.5", "list of float"),
        ("MODEL.NUM_CLASSES_LIST", "[97, many]", "list of int"),
        ("MODEL.NUM_CLASSES_LIST", "[97", "list of int"),
        ("RESNET.SPATIAL_STRIDES", "[1, 2, 2, 2]", "list of list of int"),
        ("OUTPUT_DIR", 5, "str"),
    ],
)
def test_wrong_type_names_key_value_and_type(
    write: Write, key: str, text: object, expected: str
) -> None:
    line = refusal(write(""), key, text)
    assert line.startswith(f"command line: {key} is {text!r}, but its type is {expected} (default")


def test_wrong_type_in_a_file_names_the_file_that_has_it(write: Write) -> None:
    base = write("TRAIN: {BATCH_SIZE: many}\n", "base.yaml")
    assert refusal(write("_BASE_: base.yaml\n")).startswith(
        f"{base}: TRAIN.BATCH_SIZE is 'many', but its type is int"
    )


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("TRAIN.BATCHSIZE", "TRAIN.BATCH_SIZE"),
        ("DATA.NUMFRAMES", "DATA.NUM_FRAMES"),
        ("NUM_FRAMES", "DATA.NUM_FRAMES"),
        ("SOLVER.LR", "SOLVER.LRS"),
        ("solver.base_lr", "SOLVER.BASE_LR"),
        ("SUML.TEMP", "SUML.TEMPERATURE"),
        ("TRAIN.DATASET.NAME", "EXO.DATASET"),
        ("TENSORBOARD.ENABEL", "TENSORBOARD.ENABLE"),
    ],
)
def test_unknown_key_offers_the_nearest(write: Write, key: str, near: str) -> None:
    line = refusal(write(""), key, "1")
    assert line.startswith(f"command line: {key} is not a config key; the nearest are ")
    if key != "TRAIN.DATASET.NAME":
        assert near in line


def test_unknown_key_in_a_file_names_the_file_that_has_it(write: Write) -> None:
    base = write("SOLVER: {BASE_LRR: 1}\n", "base.yaml")
    line = refusal(write("_BASE_: base.yaml\n"))
    assert line.startswith(f"{base}: SOLVER.BASE_LRR is not a config key")
    assert "SOLVER.BASE_LR" in line.split("nearest are ")[1]


def test_nearest_keys_come_in_order() -> None:
    known = [key for key, _ in leaves(get_cfg())]
    assert nearest("SOLVER.BASE_LRR", known)[0] == "SOLVER.BASE_LR"
    assert len(nearest("x", known)) == 3


def test_section_instead_of_key(write: Write) -> None:
    message = refusal(write("TENSORBOARD: 3\n"))
    assert "TENSORBOARD is a section, not a key; its keys are TENSORBOARD.ENABLE, " in message
    assert "is a section" in refusal(write(""), "TRAIN", "epickitchen")


def test_section_with_nothing_in_it_sets_nothing(write: Write) -> None:
    cfg = load_config(write("TRAIN:\n  # BATCH_SIZE: 3\nSUML:\n  WEIGHTS:\n"))
    assert dict(leaves(cfg)) == dict(leaves(get_cfg()))
    assert "OUTPUT_DIR is None" in refusal(write("OUTPUT_DIR:\n"))


def test_odd_overrides(write: Write) -> None:
    line = refusal(write(""), "TRAIN.ENABLE", "False", "NUM_GPUS=0")
    assert "3 words after the config file do not form KEY VALUE pairs" in line
    assert "NUM_GPUS=0" in line


def test_missing_files(write: Write, tmp_path: Path) -> None:
    line = refusal(tmp_path / "none.yaml")
    assert line == (
        f"config file {tmp_path}/none.yaml does not exist; the shipped ones are in configs/"
    )
    child = write("_BASE_: lost.yaml\n")
    assert f"{tmp_path}/lost.yaml (a _BASE_ of {child}) does not exist" in refusal(child)
    assert "is a folder, not a config file" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text", ["TRAIN: [1, 2\n", "a: b: c\n", "\tTRAIN: 1\n", "a: !!python/object/apply:os.getcwd []"]
)
def test_unreadable_yaml(write: Write, text: str) -> None:
    path = write(text)
    assert refusal(path).startswith(f"cannot read {path} as a config file in YAML: ")


def test_yaml_cannot_run_code(write: Write, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = write(f"OUTPUT_DIR: !!python/object/apply:os.mkdir ['{mark}']\n")
    assert "as a config file in YAML" in refusal(path)
    assert not mark.exists()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "as a config file in YAML" in refusal(path)


def test_yaml_without_keys(write: Write) -> None:
    assert "holds no `KEY: value` lines" in refusal(write("- 1\n- 2\n"))
    assert "_BASE_ is [5]" in refusal(write("_BASE_: 5\n"))


def test_bases_in_a_circle(write: Write) -> None:
    write("_BASE_: second.yaml\n", "first.yaml")
    assert "leads back to this file" in refusal(write("_BASE_: first.yaml\n", "second.yaml"))


def test_same_base_twice_is_no_circle(write: Write) -> None:
    write("RNG_SEED: 3\n", "root.yaml")
    write("_BASE_: root.yaml\n", "left.yaml")
    write("_BASE_: root.yaml\n", "right.yaml")
    assert load_config(write("_BASE_: [left.yaml, right.yaml]\n")).RNG_SEED == 3


def test_a_dump_loads_again(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """Also the dump of a config with notes, which are not settings."""
    caplog.set_level(logging.INFO)
    cfg = load_config(write("RESNET: {DEPTH: 101}\n"), ["MODEL.TEMP", "0.05"])
    assert "COMPUTED_NOTES" in cfg
    again = load_config(write(cfg.dump(), "again.yaml"))
    assert "COMPUTED_NOTES" not in again
    without_notes = {k: v for k, v in leaves(cfg) if k != "COMPUTED_NOTES"}
    assert dict(leaves(again)) == without_notes


def test_config_is_frozen_and_defaults_untouched(write: Write) -> None:
    cfg = load_config(write(""), ["MODEL.NUM_CLASSES_LIST", "[3, 4]"])
    with pytest.raises(AttributeError):
        cfg.SOLVER.BASE_LR = 0.1
    assert get_cfg().MODEL.NUM_CLASSES_LIST == [97, 300]
    assert not get_cfg().is_frozen()


def test_home_and_variables_in_every_key_that_is_a_path(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/me")
    monkeypatch.setenv("SCRATCH", "/scratch")
    local = PATHS - {"TEST.SAVE_PREDICT_PATH"}
    lists = {key for key, value in leaves(get_cfg()) if key in local and isinstance(value, list)}
    assert lists >= {"DATA.FALLBACK_PATH_PREFIXES", "FEATURES.EGO"}
    place = "$SCRATCH/${SCRATCH}x"
    words = [word for key in local for word in (key, [place] if key in lists else place)]
    text = "TEST: {SAVE_PREDICT_PATH: a~$HOMER}\n"
    monkeypatch.setenv("HOMER", "x")
    cfg = load_config(write(text), words)
    for key, value in leaves(cfg):
        if key in local:
            assert value == (["/scratch//scratchx"] if key in lists else "/scratch//scratchx")
    homes = load_config(write("DATA: {FALLBACK_PATH_PREFIXES: [~/a, b]}\n"))
    assert homes.DATA.FALLBACK_PATH_PREFIXES == ["/me/a", "b"]
    assert cfg.TEST.SAVE_PREDICT_PATH == "a~x"


def test_every_key_named_like_a_path_is_one() -> None:
    named = re.compile(r"(PATH|DIR|FILE|FOLDER)(_|ES|$)|DATA_LIST$")
    others = {"TRAIN.CHECKPOINT_TYPE", "SUML.PAIRS.IVF_LISTS"}
    like_paths = {
        key
        for key, value in leaves(get_cfg())
        if named.search(key.rpartition(".")[2]) and isinstance(value, (str, list))
    }
    assert like_paths - others <= PATHS


def test_a_variable_that_is_not_set_is_one_line(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    path = write("OUTPUT_DIR: $NOT_SET/runs\n")
    assert refusal(path) == (
        f"{path}: OUTPUT_DIR is $NOT_SET/runs, but the environment variable NOT_SET is not set; "
        "set it or write the path out"
    )
    with pytest.raises(UserError, match=r"--cfg is ~nobody_here/a.yaml, but ~nobody_here is not"):
        load_config("~nobody_here/a.yaml")


def test_bases_below_home(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write("TASK: base\n", "base.yaml")
    child = write("_BASE_: [~/base.yaml, $HOME/base.yaml]\n")
    assert load_config("~/cfg.yaml").TASK == load_config(child).TASK == "base"


def test_bases_that_double_with_every_level_are_refused(write: Write) -> None:
    write("TASK: base\n", "0.yaml")
    for level in range(1, 20):
        write(f"_BASE_: [{level - 1}.yaml, {level - 1}.yaml]\n", f"{level}.yaml")
    path = write("_BASE_: 19.yaml\n")
    assert "with its _BASE_: ValueError: it claims more than 64 files" in refusal(path)


@pytest.mark.parametrize("kind", ["fifo", "device", "loop", "folder", "nul"])
def test_a_base_that_is_no_file_is_one_line(kind: str, write: Write, tmp_path: Path) -> None:
    base = tmp_path / "base"
    makers: dict[str, Callable[[], object]] = {
        "fifo": lambda: os.mkfifo(base),
        "device": lambda: base.symlink_to("/dev/zero"),
        "loop": lambda: base.symlink_to(base),
        "folder": base.mkdir,
        "nul": lambda: None,
    }
    makers[kind]()
    path = write('_BASE_: "a\\0b"\n' if kind == "nul" else "_BASE_: base\n")
    assert "\n" not in refusal(path)


@pytest.mark.parametrize("name", ["/abs/p.pkl", "../p.pkl", "a/../../p.pkl", "~/p.pkl"])
def test_predictions_stay_below_the_output(name: str, write: Write) -> None:
    line = refusal(write("TASK: x\n"), "TEST.SAVE_PREDICT_PATH", name)
    assert line.endswith("name a file under OUTPUT_DIR, such as p.pkl")


def test_a_fraction_for_an_int_key_says_how_to_declare_one():
    with pytest.raises(UserError, match=r"type is int \(default 0\); .* the default 0\.0$"):
        typed(Setting("SUML.WEIGHTS.MINE", "0.5", COMMAND_LINE), 0)
