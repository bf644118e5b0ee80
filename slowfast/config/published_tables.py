"""Names of the published SUM-L, Ego-Exo and PySlowFast configs, as tables for `published`."""

from __future__ import annotations

from typing import Any

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
# The released code never reads this file; here it initialises the exo half, if it exists.
EXO_CHECKPOINT = "TRAIN.LEMMA_CKPT"

_DATASETS = {
    "epickitchen100_lemma_txt": "ego_exo",
    "epickitchen100_lemma_txt_2": "ego_exo",
    "epickitchen_lemma_txt": "ego_exo",
    "epickitchen_lemma_txt_2": "ego_exo",
    "lemma_seg_tpv": "lemma",
    "epickitchenhandobj": "epickitchen",
}
HAND_OBJECT_MODEL = "HandObjMultiTaskSlowFastHSlow"
RENAMED_VALUES = {
    "TRAIN.DATASET": _DATASETS,
    "TEST.DATASET": _DATASETS,
    "MODEL.MODEL_NAME": {
        "SlowFast_LEMMA3S_PHRASE_EP_HOI_2S": "EgoExoSlowFast",
        "BiFusedModel_SF": "ExoSlowFast",
        HAND_OBJECT_MODEL: "MultiTaskSlowFast",
    },
}

# Published defaults of keys that a file leaves out, if they differ from ours. Files and folders
# keep our defaults: the published ones are empty, or of data sets that are not supported.
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
# Published keys for both views -> the exo key that takes the same value.
SHARED_BY_VIEWS = {
    "DATA.NUM_FRAMES": "EXO.NUM_FRAMES",
    "DATA.SAMPLING_RATE": "EXO.SAMPLING_RATE",
}
# Set by the published files, but without effect in the released code.
NO_EFFECT_AS_RELEASED = ("MODEL.L_CON", "MODEL.DCL_THRES", "MODEL.DCL_SIGMA")

# Key -> the values that are supported; the first is the published default.
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

# Sections without any kept key: keys that are not in ACCEPTED_VALUES are ignored.
IGNORED_SECTIONS = frozenset(
    ("AVA", "BENCHMARK", "CHR_TRANS", "CHR_TRANS_BBOX", "DEMO", "NONLOCAL")
)
_IGNORED_BY_SECTION = {
    "": "DIST_BACKEND LOG_MODEL_INFO",
    "DATA": "DECODING_BACKEND PATH_LABEL_SEPARATOR RANDAUG_M RANDAUG_N",
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
        CATEGORIES_PATH CLASS_NAMES_PATH LOG_DIR CONFUSION_MATRIX.FIGSIZE
        CONFUSION_MATRIX.SUBSET_PATH HISTOGRAM.FIGSIZE HISTOGRAM.SUBSET_PATH HISTOGRAM.TOPK
        MODEL_VIS.ENABLE
    """,
    "TEST": "DATA_LIST_FPV DATA_LIST_TPV HEAD_TARGETS",
    "TRAIN": """
        DATA_SWITCH K400_CKPT TEACHER_CKPT TEACHER_CKPT_2 TRAIN_DATA_LIST_FPV TRAIN_DATA_LIST_TPV
        VAL_DATA_LIST_FPV VAL_DATA_LIST_TPV
    """,
}
IGNORED_KEYS = frozenset(
    f"{section}.{name}".lstrip(".")
    for section, names in _IGNORED_BY_SECTION.items()
    for name in names.split()
)
# A file that sets a key of these sections is ours, even if it has published names too.
OUR_SECTIONS = ("EXO.", "SUML.")
