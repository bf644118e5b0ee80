"""Each rule, with a config that breaks it and the expected error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slowfast.config import get_cfg, load_config, validate
from slowfast.config.bounds import Choice, Range
from slowfast.config.defaults import BOUNDS
from slowfast.utils.errors import UserError

STEPS = ["SOLVER.LR_POLICY", "steps_with_relative_lrs"]
R101 = "[[3, 3], [4, 4], [23, 23], [3, 3]]"
CHOICES = {key: bound.values for key, bound in BOUNDS.items() if isinstance(bound, Choice)}
RANGES = {key: bound for key, bound in BOUNDS.items() if isinstance(bound, Range)}
AT_LEAST = {
    key: bound.at_least
    for key, bound in RANGES.items()
    if bound.at_least is not None and bound == Range(at_least=bound.at_least)
}


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    return path


def refusal(path: Path, overrides: list[Any]) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("key", CHOICES)
def test_value_outside_its_choices(empty: Path, key: str) -> None:
    wrong: Any = 7 if isinstance(CHOICES[key][0], int) else "sideways"
    named = ", ".join(map(str, CHOICES[key]))
    assert refusal(empty, [key, wrong]) == f"{key} is {wrong!r}; choose one of {named}"


@pytest.mark.parametrize("key", CHOICES)
def test_each_choice_is_allowed(empty: Path, key: str) -> None:
    needed = {
        "SOLVER.LR_POLICY": ["SOLVER.STEPS", "[0]", "SOLVER.LRS", "[1]"],
        "SUML.ALIGN.KIND": ["SUML.PAIRS.MINING", "factors"],
        "SUML.PAIRS.MODE": ["SUML.PAIRS.PAIRED_FILE", "pairs.csv"],
    }
    for choice in CHOICES[key]:
        load_config(empty, [key, choice, *needed.get(key, [])])


@pytest.mark.parametrize("key", AT_LEAST)
def test_value_below_its_least(empty: Path, key: str) -> None:
    wrong = AT_LEAST[key] - 1
    line = refusal(empty, [key, wrong])
    assert line.startswith(f"{key} is {wrong}")
    assert line.endswith(f"; set it to {AT_LEAST[key]} or more")


@pytest.mark.parametrize("key", [key for key, bound in RANGES.items() if bound == Range(above=0)])
@pytest.mark.parametrize("wrong", ["0", "-0.1"])
def test_value_that_must_be_above_zero(empty: Path, key: str, wrong: str) -> None:
    assert refusal(empty, [key, wrong]) == f"{key} is {float(wrong)}; set it above 0"


@pytest.mark.parametrize(
    "key", [key for key, bound in RANGES.items() if bound == Range(at_least=0, below=1)]
)
@pytest.mark.parametrize("wrong", ["1", "-0.5"])
def test_value_that_must_be_a_fraction(empty: Path, key: str, wrong: str) -> None:
    assert refusal(empty, [key, wrong]) == f"{key} is {float(wrong)}; set it from 0 to below 1"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["DATA.NUM_FRAMES", "30"],
            "DATA.NUM_FRAMES 30 is not a multiple of SLOWFAST.ALPHA 4; set it to 32",
        ),
        (
            ["SHARD_ID", "2", "NUM_SHARDS", "2"],
            "SHARD_ID is 2 of NUM_SHARDS 2; machines are numbered from 0 to 1",
        ),
        (["OUTPUT_DIR", ""], "OUTPUT_DIR is ''; name a folder ('.' for this one)"),
        (
            ["DATA.TRAIN_JITTER_SCALES", "[320, 256]"],
            "DATA.TRAIN_JITTER_SCALES is [320, 256]; give [smallest, largest], both 1 or more",
        ),
        (
            ["DATA.TRAIN_JITTER_SCALES", "[256]"],
            "DATA.TRAIN_JITTER_SCALES is [256]; give [smallest, largest], both 1 or more",
        ),
        (
            ["DATA.TRAIN_CROP_SIZE", "280"],
            "DATA.TRAIN_JITTER_SCALES [256, 320] begins below DATA.TRAIN_CROP_SIZE 280, so the "
            "crop does not fit; raise the scale to 280 or lower the crop to 256",
        ),
        (
            ["DATA.MEAN", "[0.5]"],
            "DATA.MEAN is [0.5]; give 3 numbers, one per colour channel",
        ),
        (
            ["DATA.STD", "[0.2, 0, 0.2]"],
            "DATA.STD is [0.2, 0.0, 0.2]; give 3 numbers, one per colour channel, all above 0",
        ),
        (
            ["MODEL.SHARE_BACKBONE", "True", "EXO.FREEZE_STAGES", "5"],
            "EXO.FREEZE_STAGES is 5, but with MODEL.SHARE_BACKBONE True MODEL.FREEZE_STAGES freezes"
            " the backbone of both halves; set EXO.FREEZE_STAGES to 0",
        ),
        (
            ["MODEL.NUM_CLASSES_LIST", "[97, 0]"],
            "MODEL.NUM_CLASSES_LIST is [97, 0]; give the number of classes of each head, all 1 or"
            " more",
        ),
        (
            ["EXO.NUM_CLASSES_LIST", "[-1, 64]"],
            "EXO.NUM_CLASSES_LIST is [-1, 64]; give the number of classes of each head, all 1 or"
            " more",
        ),
        (
            ["MODEL.HEAD_NAMES", "[verb]"],
            "MODEL.HEAD_NAMES is ['verb'] for MODEL.NUM_CLASSES_LIST [97, 300]; give"
            " as many names as sizes (1 and 2 now)",
        ),
        (
            ["MODEL.NUM_CLASSES_LIST", "[97]"],
            "MODEL.HEAD_NAMES is ['verb', 'noun'] for MODEL.NUM_CLASSES_LIST [97];"
            " give as many names as sizes (2 and 1 now)",
        ),
        (
            ["EXO.HEAD_NAMES", "[]"],
            "EXO.HEAD_NAMES is [] for EXO.NUM_CLASSES_LIST [25, 64]; give as many"
            " names as sizes (0 and 2 now)",
        ),
        (
            ["EXO.HEAD_NAMES", "[verb, verb]"],
            "EXO.HEAD_NAMES is ['verb', 'verb'] for EXO.NUM_CLASSES_LIST [25, 64];"
            " give each head a different name, instead of 'verb' twice",
        ),
        (
            ["MODEL.HEAD_NAMES", "[all, noun]"],
            "MODEL.HEAD_NAMES is ['all', 'noun'] for MODEL.NUM_CLASSES_LIST"
            " [97, 300]; rename 'all': that is the name of the joint answer of all heads",
        ),
        (
            ["RESNET.WIDTH_PER_GROUP", "12"],
            "RESNET.WIDTH_PER_GROUP 12 is not a multiple of SLOWFAST.BETA_INV 8, so the fast"
            " pathway has a fractional width; set it to 16",
        ),
        (
            ["SLOWFAST.FUSION_KERNEL_SZ", "4"],
            "SLOWFAST.FUSION_KERNEL_SZ is 4; set it to an odd number, 1 or more",
        ),
        (
            ["RESNET.SPATIAL_STRIDES", "[[1, 1], [2, 2], [2, 2]]"],
            "RESNET.SPATIAL_STRIDES is [[1, 1], [2, 2], [2, 2]]; give [slow, fast] for each of the"
            " stages s2 to s5, all 1 or more",
        ),
        (
            ["RESNET.SPATIAL_DILATIONS", "[[1], [1], [1], [1]]"],
            "RESNET.SPATIAL_DILATIONS is [[1], [1], [1], [1]]; give [slow, fast] for each of the"
            " stages s2 to s5, all 1 or more",
        ),
        (
            ["RESNET.NUM_BLOCK_TEMP_KERNEL", R101],
            f"RESNET.NUM_BLOCK_TEMP_KERNEL is {R101}, but RESNET.DEPTH 50 has only [3, 4, 6, 3]"
            " blocks per stage; set it to [[3, 3], [4, 4], [6, 6], [3, 3]]",
        ),
        (
            ["MODEL.RECOMPUTE_STAGES", "[s2, s6]"],
            "MODEL.RECOMPUTE_STAGES is ['s2', 's6']; choose any of s1, s1_fuse, s2, s2_fuse, s3,"
            " s3_fuse, s4, s4_fuse, s5",
        ),
        (
            [
                *("MODEL.COMPILE", "True", "MODEL.COMPILE_MODE", "reduce-overhead"),
                *("SOLVER.ACCUMULATE", "2"),
            ],
            "MODEL.COMPILE_MODE reduce-overhead does not support SOLVER.ACCUMULATE 2; set"
            " SOLVER.ACCUMULATE 1 or MODEL.COMPILE_MODE default",
        ),
        (
            [*STEPS, "SOLVER.STEPS", "[0, 20]", "SOLVER.LRS", "[1]"],
            "SOLVER.STEPS [0, 20] has 2 entries and SOLVER.LRS [1] has 1; give one factor per step",
        ),
        (
            [*STEPS, "SOLVER.STEPS", "[5, 20]", "SOLVER.LRS", "[1, 0.1]"],
            "SOLVER.STEPS is [5, 20]; give increasing epochs that begin with 0",
        ),
        (
            [*STEPS, "SOLVER.STEPS", "[0, 20, 20]", "SOLVER.LRS", "[1, 1, 1]"],
            "SOLVER.STEPS is [0, 20, 20]; give increasing epochs that begin with 0",
        ),
        (STEPS, "SOLVER.STEPS is []; give increasing epochs that begin with 0"),
        (
            [*STEPS, "SOLVER.STEPS", "[0]", "SOLVER.LRS", "[-1]"],
            "SOLVER.LRS is [-1]; give factors of SOLVER.BASE_LR, 0 or more",
        ),
        (
            [*STEPS, "SOLVER.STEPS", "[0]", "SOLVER.LRS", "['all']"],
            "SOLVER.STEPS is [0] and SOLVER.LRS is ['all']; give numbers only",
        ),
        (
            ["SOLVER.DAMPENING", "0.1"],
            "SOLVER.NESTEROV True needs a SOLVER.MOMENTUM above 0 (it is 0.9) and SOLVER.DAMPENING"
            " 0 (it is 0.1); or set SOLVER.NESTEROV False",
        ),
        (
            ["SUML.ALIGN.THRESHOLD", "50"],
            "SUML.ALIGN.THRESHOLD is 50.0; set it from -1 to 1",
        ),
        (
            ["SUML.QUEUE.SIZE", "64", "SUML.ALIGN.KIND", "soft"],
            "SUML.QUEUE.SIZE is 64, but SUML.ALIGN.KIND soft with SUML.WEIGHTS.ALIGN 0.02 does not"
            " use the queue; set SUML.QUEUE.SIZE 0, or set SUML.ALIGN.KIND to dcl or dcl_weighted"
            " and SUML.WEIGHTS.ALIGN above 0",
        ),
        (
            ["SUML.ALIGN.KIND", "factorised"],
            "SUML.ALIGN.KIND factorised needs partners by verb and by noun, but SUML.PAIRS.MINING"
            " is text; set it to factors, and SUML.PAIRS.FILE to a new file",
        ),
        (
            [
                *("SUML.EXO_STREAM", "True", "SUML.ALIGN.KIND", "factorised"),
                *("SUML.PAIRS.MINING", "factors"),
            ],
            "SUML.EXO_STREAM True and SUML.ALIGN.KIND factorised both need the second exo clip;"
            " set SUML.EXO_STREAM False or SUML.ALIGN.KIND dcl",
        ),
        (
            [
                *("SUML.EXO_STREAM", "True", "SUML.ALIGN.KIND", "soft"),
                *("SUML.WEIGHTS.EXO_CLS", "0", "SUML.WEIGHTS.EXO_TEXT", "0"),
            ],
            "SUML.EXO_STREAM True, but no term of this config uses its clips; set"
            " SUML.WEIGHTS.EXO_CLS or EXO_TEXT above 0, or SUML.EXO_STREAM False",
        ),
    ],
)
def test_values_that_do_not_fit(empty: Path, overrides: list[Any], line: str) -> None:
    assert refusal(empty, overrides) == line


@pytest.mark.parametrize("name", ["", "Verb", "1st", "_verb", "two words", "verb-noun", "vérb"])
@pytest.mark.parametrize("section", ["MODEL", "EXO"])
def test_head_name_that_is_no_identifier(empty: Path, section: str, name: str) -> None:
    line = refusal(empty, [f"{section}.HEAD_NAMES", ["noun", name]])
    assert line.startswith(f"{section}.HEAD_NAMES is ['noun', {name!r}] for ")
    assert f"{section}.NUM_CLASSES_LIST [" in line
    assert f"; rename {name!r}: a name starts with a lower-case letter" in line


@pytest.mark.parametrize(
    "overrides",
    [
        # Steps play no part in another policy, Nesterov in another optimizer.
        ["SOLVER.STEPS", "[3]"],
        ["SOLVER.DAMPENING", "0.1", "SOLVER.NESTEROV", "False"],
        ["SOLVER.DAMPENING", "0.1", "SOLVER.OPTIMIZING_METHOD", "adamw"],
        # A scale as large as the crop leaves one place for it.
        ["DATA.TRAIN_JITTER_SCALES", "[224, 224]"],
        ["RESNET.DEPTH", "101", "RESNET.NUM_BLOCK_TEMP_KERNEL", R101],
        # A last step beyond the last epoch, as released.
        [*STEPS, "SOLVER.STEPS", "[0, 30]", "SOLVER.LRS", "[1, 0.1]", "SOLVER.MAX_EPOCH", "1"],
        # Names play no part without a list of heads.
        ["MODEL.NUM_CLASSES_LIST", "[]"],
        ["MODEL.HEAD_NAMES", "[noun, verb]"],
        ["MODEL.HEAD_NAMES", "[scene, task_2]", "EXO.HEAD_NAMES", "[verb, tool]"],
        # `action` and `all` are names of joint answers, of which a single head has none, and
        # `action` is only that of a verb and a noun.
        ["MODEL.HEAD_NAMES", "[action]", "MODEL.NUM_CLASSES_LIST", "[10]"],
        ["MODEL.HEAD_NAMES", "[all]", "MODEL.NUM_CLASSES_LIST", "[10]"],
        ["MODEL.HEAD_NAMES", "[verb, noun, action]", "MODEL.NUM_CLASSES_LIST", "[19, 51, 106]"],
        # Names that other files register.
        ["MODEL.MODEL_NAME", "MyModel", "TRAIN.DATASET", "my_kitchen"],
    ],
)
def test_values_that_fit(empty: Path, overrides: list[Any]) -> None:
    load_config(empty, overrides)


def test_validate_takes_an_unfrozen_config() -> None:
    cfg = get_cfg()
    validate(cfg)
    cfg.SUML.TEMPERATURE = -1.0
    with pytest.raises(UserError, match=r"SUML\.TEMPERATURE is -1\.0"):
        validate(cfg)


@pytest.mark.parametrize(
    "key",
    [
        *("OUTPUT_DIR", "SUML.CACHE_DIR", "TEST.FEATURES.DIR", "TEST.SAVE_PREDICT_PATH"),
        *("DATA.PATH_PREFIX", "EXO.PATH_PREFIX"),
    ],
)
def test_only_input_files_may_be_urls(empty: Path, key: str) -> None:
    line = refusal(empty, [key, "https://h/folder"])
    assert line.startswith(f"{key} is https://h/folder, but only input files may be URLs")
    load_config(empty, [key, "https"])


def test_every_fallback_frame_folder_is_local(empty: Path) -> None:
    line = refusal(empty, ["DATA.FALLBACK_PATH_PREFIXES", "['data', 's3://bucket/frames']"])
    assert line.startswith("DATA.FALLBACK_PATH_PREFIXES is s3://bucket/frames")
