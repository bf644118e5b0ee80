"""Names of the published SUM-L, Ego-Exo and PySlowFast configs, and what each means here.

Published files and override lines run unmodified. A published key is of one of four kinds: kept
(the same name here), renamed, ignored (it has no effect), or accepted only at its default (it
asks for something that is not here).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowfast.config.values import Setting, typed
from slowfast.utils.errors import UserError

RENAMED_KEYS = {
    "MODEL.CONTRASTIVE": "SUML.ENABLE",
    "MODEL.CON_LAST_DIM": "SUML.EMBED_DIM",
    "MODEL.TEMP": "SUML.TEMPERATURE",
    "MODEL.L_CLS": "SUML.WEIGHTS.EXO_CLS",
    "MODEL.L_CON": "SUML.WEIGHTS.ALIGN",
    "MODEL.L_CON_V": "SUML.WEIGHTS.EGO_TEXT",
    "MODEL.L_CON_N": "SUML.WEIGHTS.EXO_TEXT",
    "MODEL.DCL_THRES": "SUML.ALIGN.THRESHOLD",
    "MODEL.DCL_SIGMA": "SUML.ALIGN.SIGMA",
}
# Read by nothing in the released code; here a file that exists initialises the exo half.
EXO_CHECKPOINT = "TRAIN.LEMMA_CKPT"

_DATASETS = {
    "epickitchen100_lemma_txt": "ego_exo",
    "epickitchen100_lemma_txt_2": "ego_exo",
    "epickitchen_lemma_txt": "ego_exo",
    "epickitchen_lemma_txt_2": "ego_exo",
    "lemma_seg_tpv": "lemma",
    "epickitchenhandobj": "epickitchen",
}
_HAND_OBJECT_MODEL = "HandObjMultiTaskSlowFastHSlow"
RENAMED_VALUES = {
    "TRAIN.DATASET": _DATASETS,
    "TEST.DATASET": _DATASETS,
    "MODEL.MODEL_NAME": {
        "SlowFast_LEMMA3S_PHRASE_EP_HOI_2S": "EgoExoSlowFast",
        "BiFusedModel_SF": "ExoSlowFast",
        _HAND_OBJECT_MODEL: "MultiTaskSlowFast",
    },
}

# What a published file means by leaving a key out, where that differs from our default. Names of
# files and folders keep ours: the published ones are empty, or of data sets that are not here.
PUBLISHED_DEFAULTS: dict[str, Any] = {
    "MODEL.MODEL_NAME": "SlowFast",
    "DATA.NUM_FRAMES": 8,
    "DATA.SAMPLING_RATE": 8,
    "SLOWFAST.ALPHA": 8,
    "SOLVER.MAX_EPOCH": 300,
    "MODEL.CONTRASTIVE": False,
    "MODEL.CON_LAST_DIM": 768,
    "MODEL.TEMP": 0.07,
    "MODEL.L_CLS": 0.0,
    "MODEL.L_CON": 0.0,
    "MODEL.L_CON_V": 0.0,
    "MODEL.L_CON_N": 0.0,
    "MODEL.DCL_THRES": 0.8,
    "MODEL.DCL_SIGMA": 0.5,
}
# One key for both views there.
SHARED_BY_VIEWS = {
    "DATA.NUM_FRAMES": "EXO.NUM_FRAMES",
    "DATA.SAMPLING_RATE": "EXO.SAMPLING_RATE",
}
# Set by the published files, but without effect in the released code.
NO_EFFECT_AS_RELEASED = ("MODEL.L_CON", "MODEL.DCL_THRES", "MODEL.DCL_SIGMA")

# Key -> the values that ask for nothing that is not here; the first is the published default.
ACCEPTED_VALUES: dict[str, tuple[Any, ...]] = {
    "MODEL.ARCH": ("slowfast",),
    "MODEL.SINGLE_PATHWAY_ARCH": (["c2d", "i3d", "slow"],),
    "MODEL.MULTI_PATHWAY_ARCH": (["slowfast"],),
    "DATA.INPUT_CHANNEL_NUM": ([3, 3],),
    "RESNET.TRANS_FUNC": ("bottleneck_transform",),
    "RESNET.STRIDE_1X1": (False,),
    "NONLOCAL.LOCATION": ([[[]], [[]], [[]], [[]]], [[[], []], [[], []], [[], []], [[], []]]),
    "BN.NUM_SPLITS": (1,),
    "BN.NUM_SYNC_DEVICES": (1,),
    "DETECTION.ENABLE": (False,),
    "DETECTION.ALIGNED": (True,),
    "DETECTION.ROI_XFORM_RESOLUTION": (7,),
    "DETECTION.SPATIAL_SCALE_FACTOR": (16,),
    "MULTIGRID.LONG_CYCLE": (False,),
    "MULTIGRID.SHORT_CYCLE": (False,),
    "MULTIGRID.BN_BASE_SIZE": (8,),
    "MULTIGRID.DEFAULT_B": (0,),
    "MULTIGRID.DEFAULT_S": (0,),
    "MULTIGRID.DEFAULT_T": (0,),
    "MULTIGRID.EPOCH_FACTOR": (1.5,),
    "MULTIGRID.EVAL_FREQ": (3,),
    "MULTIGRID.LONG_CYCLE_FACTORS": ([[0.25, 0.5**0.5], [0.5, 0.5**0.5], [0.5, 1.0], [1.0, 1.0]],),
    "MULTIGRID.LONG_CYCLE_SAMPLING_RATE": (0,),
    "MULTIGRID.SHORT_CYCLE_FACTORS": ([0.5, 0.5**0.5],),
    "KD.ENABLE": (False,),
    "KD.MULTI": (False,),
    "KD.NUM_CLASSES": (2,),
    "KD.NUM_CLASSES_LIST": ([2],),
    "KD.ALPHA": (0.5,),
    "KD.ALPHA_LIST": ([0.5],),
    "KD.T": (1.0,),
    "KD.T_LIST": ([1.0],),
    "KD.TRAIN_TEACHER_PATH": ("",),
    "KD.TRAIN_TEACHER_PATH_LIST": ([""],),
    "KD.TEACHER_CFG_PATH": ("",),
    "KD.TEACHER_CHECKPOINT_PATH": ("",),
    "KD.MODE": ("none",),
    "KD.BALANCE_LOSS": (True,),
    "KD.SAMPLE_RATIO": (0.5,),
    "DEMO.ENABLE": (False,),
    "DATA.FPV_ONLY": (False,),
    "DATA.TPV_ONLY": (False,),
    "DATA.MULTI_LABEL": (False,),
    "EXP.IMG_TYPE": ("rgb",),
    "EXP.LABEL_TYPE": ("verb",),
    "EXP.MODEL_TYPE": ("plain",),
    "EXP.SUPERVISION": ("none",),
    "EXP.TASK": ("rec",),
    "EXP.VIDEO_TYPE": ("2x1",),
    "EXP.VIEW_TYPE": ("fpv",),
    "MODEL.ATT": (False,),
    "MODEL.CON_DROPOUT_RATE": (0.0,),
    "MODEL.CON_LOGIT_L2": (False,),
    "MODEL.D": (False,),
    "MODEL.EPIC_TOKEN_V": (-1,),
    "MODEL.FEAT": (False,),
    "MODEL.K400_K": (-1,),
    "MODEL.L_MT": (0.0,),
    "MODEL.L_POS": (0.0,),
    "MODEL.MOMENTUM": (-1.0,),
    "MODEL.MT_UNSUP_K": (-1,),
    "MODEL.MT_UNSUP_N": (-1,),
    "MODEL.P_MOMENTUM": (-1.0,),
    "MODEL.PiKL": (False,),
    "MODEL.PiTS": (False,),
    "MODEL.QUEUE": (-1,),
    "MODEL.TEMP_CHR": (0.07,),
    "MODEL.UNSUP": (False,),
    "SOLVER.GAMMA": (0.1,),
    "TEST.TEST_ONLY": (False,),
    "TEST.THRES": (0.5,),
}

# Sections without a key that is kept: what ACCEPTED_VALUES does not name is ignored.
_IGNORED_SECTIONS = frozenset(
    ("AVA", "BENCHMARK", "CHR_TRANS", "CHR_TRANS_BBOX", "DEMO", "NONLOCAL")
)
_IGNORED_BY_SECTION = {
    "": "DIST_BACKEND LOG_MODEL_INFO",
    "DATA": "DECODING_BACKEND PATH_LABEL_SEPARATOR RANDAUG_M RANDAUG_N TARGET_FPS",
    "DATA_LOADER": "ENABLE_MULTI_THREAD_DECODE",
    "EXP": "USE_BOTH_VIEW",
    "HANDOBJ": """
        ALPHA BALANCE_LOSS DETS_FOLDER FREEZE_HANDOBJ_HEAD HAND_LOSS_WEIGHT HEAD_CONV_DIM
        HEAD_NUM_CONV KD_LOSS LOSS_MODE OBJ_LOSS_WEIGHT POS_WEIGHT
    """,
    "LOSS": "CE_LOSS_WEIGHT",
    "MODEL": """
        EPIC_TOKEN EPIC_TOKEN_N EPOCH_ST FREEZE_BN HEAD_ONE K400_CON_LAST_DIM K400_EB K400_SWITCH
        K400_TOKEN LD_IDX L_ATT_POS L_CON_ACT L_CON_CHR L_CON_CHR_ACT L_CON_TIME L_K400 L_K400_CHR
        L_K400_CHR_N L_K400_CHR_V L_K400_CLS L_K400_CONSISTENCY L_K400_N L_K400_PAIR
        L_K400_PAIR_ALIGN L_K400_V L_MT_CHR L_TIME MOMENTUM_A3I MOMENTUM_K400 MULTILABEL
        MULTI_CLASS OOD_ST QUEUE_CAM SH SOFT_ALPHA STAP ST_LAST_DIM TPV_ALPHA
    """,
    "SOLVER": "STEP_SIZE WARMUP_FACTOR",
    "TENSORBOARD": """
        CATEGORIES_PATH CLASS_NAMES_PATH LOG_DIR CONFUSION_MATRIX.ENABLE CONFUSION_MATRIX.FIGSIZE
        CONFUSION_MATRIX.SUBSET_PATH HISTOGRAM.ENABLE HISTOGRAM.FIGSIZE HISTOGRAM.SUBSET_PATH
        HISTOGRAM.TOPK MODEL_VIS.ENABLE
    """,
    "TEST": "DATA_LIST_FPV DATA_LIST_TPV HEAD_TARGETS",
    "TRAIN": """
        DATA_SWITCH K400_CKPT TEACHER_CKPT TEACHER_CKPT_2 TRAIN_DATA_LIST_FPV TRAIN_DATA_LIST_TPV
        VAL_DATA_LIST_FPV VAL_DATA_LIST_TPV
    """,
}
_IGNORED_KEYS = frozenset(
    f"{section}.{name}".lstrip(".")
    for section, names in _IGNORED_BY_SECTION.items()
    for name in names.split()
)
# A file that sets one of these is ours, whatever published names it has beside.
_OUR_SECTIONS = ("EXO.", "SUML.")


@dataclass
class Translation:
    """Settings under our names, in the order of their effect; lines (level, text) for the log."""

    settings: list[Setting] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)


def translate(file: list[Setting], overrides: list[Setting], kept: Collection[str]) -> Translation:
    """The settings of a config file, then of the overrides, under our names.

    kept: our keys; a published key among them keeps its name. Unknown keys pass through. If the
    file is a published one, a key that it leaves out means the published default.

    Raises: UserError for a published value that asks for something that is not here, or for one
        key that is set to two values under two names.
    """
    out = Translation()
    written = [*file, *overrides]
    if _is_published(file, kept):
        written = [*_left_out(file, out.notes), *written]
        written += _for_the_other_view(written)
    ignored = []
    for setting in written:
        kind = kind_of(setting.key, kept)
        if kind == "ignored":
            ignored.append(setting.key)
        elif kind == "accepted":
            _refuse_what_is_not_here(setting)
        elif setting.key == EXO_CHECKPOINT:
            out.settings += _exo_checkpoint(setting, out.notes)
        elif kind == "renamed":
            out.settings.append(_renamed(setting, RENAMED_KEYS[setting.key]))
        else:
            out.settings += _with_our_value(setting)
    _refuse_two_names(out.settings)
    out.notes += _notes([*file, *overrides], out.settings, ignored)
    return out


def kind_of(key: str, kept: Collection[str]) -> str:
    """kept, renamed, accepted (at its default only), ignored or unknown."""
    if key in kept:
        return "kept"
    if key in RENAMED_KEYS or key == EXO_CHECKPOINT:
        return "renamed"
    if key in ACCEPTED_VALUES:
        return "accepted"
    if key in _IGNORED_KEYS or key.partition(".")[0] in _IGNORED_SECTIONS:
        return "ignored"
    return "unknown"


def _is_published(file: list[Setting], kept: Collection[str]) -> bool:
    """Whether a file has a name that only published ones have, and none that only ours have."""
    published = any(
        kind_of(setting.key, kept) not in ("kept", "unknown") or _our_value(setting)
        for setting in file
    )
    return published and not any(setting.key.startswith(_OUR_SECTIONS) for setting in file)


def _left_out(file: list[Setting], notes: list[tuple[str, str]]) -> list[Setting]:
    """The published defaults that hold; a note names those that play a part."""
    given = {setting.key for setting in file}
    defaults = {key: value for key, value in PUBLISHED_DEFAULTS.items() if key not in given}
    contrastive = "MODEL.CONTRASTIVE" in given
    named = [f"{k} {v}" for k, v in defaults.items() if contrastive or k not in RENAMED_KEYS]
    if named:
        notes.append(
            ("INFO", f"published file, left out, at the published default: {', '.join(named)}")
        )
    return [Setting(key, value, "published default") for key, value in defaults.items()]


def _for_the_other_view(written: list[Setting]) -> list[Setting]:
    given = {setting.key for setting in written}
    return [
        setting._replace(key=SHARED_BY_VIEWS[setting.key])
        for setting in written
        if setting.key in SHARED_BY_VIEWS and SHARED_BY_VIEWS[setting.key] not in given
    ]


def _renamed(setting: Setting, key: str) -> Setting:
    return setting._replace(key=key, written=setting.key)


def _our_value(setting: Setting) -> str | None:
    """Our name for a published model or data set; None for any other value."""
    names = RENAMED_VALUES.get(setting.key, {})
    return names.get(setting.value) if isinstance(setting.value, str) else None


def _with_our_value(setting: Setting) -> list[Setting]:
    ours = _our_value(setting)
    if ours is None:
        return [setting]
    settings = [setting._replace(value=ours)]
    if setting.value == _HAND_OBJECT_MODEL:
        settings.append(setting._replace(key="HANDOBJ.ENABLE", value=True))
    return settings


def _exo_checkpoint(setting: Setting, notes: list[tuple[str, str]]) -> list[Setting]:
    """The file as EXO.CHECKPOINT_FILE_PATH if there is one; else a warning."""
    if not setting.value:
        return []
    if Path(str(setting.value)).is_file():
        return [_renamed(setting, "EXO.CHECKPOINT_FILE_PATH")]
    notes.append(
        (
            "WARNING",
            f"{setting.where} {setting.value} is no file and is ignored; weights for the exo half"
            " are named by EXO.CHECKPOINT_FILE_PATH",
        )
    )
    return []


def _refuse_what_is_not_here(setting: Setting) -> None:
    accepted = ACCEPTED_VALUES[setting.key]
    if typed(setting, accepted[0]) not in accepted:
        raise UserError(
            f"{setting.where} {setting.value!r} asks for something that is not here; remove the"
            f" key or set it to {accepted[-1]!r}"
        )


def _refuse_two_names(settings: list[Setting]) -> None:
    first: dict[tuple[str, str], Setting] = {}
    for setting in settings:
        other = first.setdefault((setting.key, setting.origin), setting)
        if other.written != setting.written and other.value != setting.value:
            raise UserError(
                f"{setting.origin}: {setting.key} is set twice, as {other.written or other.key}"
                f" {other.value!r} and as {setting.written or setting.key} {setting.value!r};"
                " remove one"
            )


def _notes(
    written: list[Setting], settings: list[Setting], ignored: list[str]
) -> Iterator[tuple[str, str]]:
    if mapped := _mapped(written, settings):
        yield "INFO", f"published names mapped: {', '.join(mapped)}"
    if ignored:
        names = ", ".join(dict.fromkeys(ignored))
        yield "INFO", f"published keys without effect, ignored: {names}"
    dead = [key for key in NO_EFFECT_AS_RELEASED if key in {setting.key for setting in written}]
    if dead:
        yield (
            "INFO",
            f"this trains the method of the paper: {', '.join(dead)} had no effect in the released"
            " code; configs/epic-kitchen-100/published_release.yaml is what was released",
        )
    if any(setting.key == "HANDOBJ.ENABLE" and setting.value is True for setting in settings):
        yield (
            "INFO",
            "the hand and object heads of the published model are not here: a test ignores their"
            " weights, training is refused",
        )


def _mapped(written: list[Setting], settings: list[Setting]) -> list[str]:
    values = (f"{s.key} {s.value} -> {_our_value(s)}" for s in written if _our_value(s))
    given = {setting.key for setting in written}
    keys = (f"{s.written} -> {s.key}" for s in settings if s.written in given)
    return list(dict.fromkeys([*values, *keys]))
