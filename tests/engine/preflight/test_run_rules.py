"""Whether model, data sets and tasks of a run fit each other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slowfast.config import load_config
from slowfast.datasets.registry import SOURCE_REGISTRY
from slowfast.engine.preflight.run_rules import validate_run
from slowfast.models.registry import MODEL_REGISTRY
from slowfast.utils.errors import UserError


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.yaml"
    path.write_text("")
    return path


SUML = ["TRAIN.DATASET", "ego_exo", "MODEL.MODEL_NAME", "EgoExoSlowFast", "SUML.ENABLE", "True"]
# Registered data sets by view, in the order in which an error lists them.
EGO_SETS, EXO_SETS = (
    ", ".join(n for n in SOURCE_REGISTRY if view in SOURCE_REGISTRY.get(n).views)
    for view in ("ego", "exo")
)
EXO = ["TRAIN.DATASET", "lemma", "MODEL.MODEL_NAME", "ExoSlowFast", "MODEL.LOSS_FUNC", "bce_logit"]


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["TRAIN.ENABLE", "False", "TEST.ENABLE", "False"], "nothing to do"),
        (["HANDOBJ.ENABLE", "True"], "HANDOBJ.ENABLE True with TRAIN.ENABLE True"),
        (
            ["TRAIN.DATASET", "ego_exo", "MODEL.MODEL_NAME", "MultiTaskSlowFast"],
            "TRAIN.DATASET ego_exo holds ego and exo clips, but MODEL.MODEL_NAME MultiTaskSlowFast"
            f" trains on ego clips; set TRAIN.DATASET to one of {EGO_SETS}, or MODEL.MODEL_NAME to"
            " one of EgoExoSlowFast, or TRAIN.ENABLE False",
        ),
        (
            [*SUML, "TRAIN.DATASET", "epickitchen"],
            "TRAIN.DATASET epickitchen holds ego clips, but MODEL.MODEL_NAME EgoExoSlowFast trains"
            " on ego and exo clips; set TRAIN.DATASET to one of ego_exo",
        ),
        (
            [*SUML, "SUML.ENABLE", "False"],
            "MODEL.MODEL_NAME EgoExoSlowFast trains SUM-L, but SUML.ENABLE is False",
        ),
        (
            ["SUML.ENABLE", "True", "MODEL.MODEL_NAME", "MultiTaskSlowFast"],
            "SUML.ENABLE is True, but MODEL.MODEL_NAME MultiTaskSlowFast takes ego clips alone",
        ),
        (
            [*SUML, "TEST.DATASET", "lemma"],
            "TEST.DATASET lemma holds exo clips, but MODEL.MODEL_NAME EgoExoSlowFast is tested on"
            f" ego clips; set TEST.DATASET to one of {EGO_SETS}",
        ),
        (
            EXO,
            "TEST.DATASET epickitchen holds ego clips, but MODEL.MODEL_NAME ExoSlowFast is tested"
            f" on exo clips; set TEST.DATASET to one of {EXO_SETS}",
        ),
        (
            [*EXO, "TEST.DATASET", "lemma", "MODEL.LOSS_FUNC", "cross_entropy"],
            "MODEL.LOSS_FUNC is cross_entropy, but MODEL.MODEL_NAME ExoSlowFast trains with"
            " bce_logit",
        ),
        (
            [*SUML, "EXO.NUM_FRAMES", "33"],
            "EXO.NUM_FRAMES 33 is not a multiple of SLOWFAST.ALPHA 4; set it to 36",
        ),
        (
            ["MODEL.NUM_CLASSES_LIST", "[]", "MODEL.HEAD_NAMES", "[]"],
            "MODEL.NUM_CLASSES_LIST is [], but MODEL.MODEL_NAME MultiTaskSlowFast classifies ego",
        ),
        (
            ["MODEL.MODEL_NAME", "SlowFast"],
            "TRAIN.DATASET epickitchen is labelled with ['verb', 'noun'], but the heads of"
            " MODEL.MODEL_NAME SlowFast are ['label']",
        ),
        (
            [*SUML, "MODEL.NUM_CLASSES_LIST", "[97]", "MODEL.HEAD_NAMES", "['action']"],
            "EGO.DATASET epickitchen is labelled with ['verb', 'noun'], but the heads of MODEL are"
            " ['action']; set MODEL.HEAD_NAMES ['verb', 'noun']",
        ),
        (
            [*SUML, "EGO.DATASET", "lemma"],
            f"EGO.DATASET lemma has no ego clips; set it to one of {EGO_SETS}",
        ),
        (
            ["MODEL.MODEL_NAME", "MyModel"],
            "MODEL.MODEL_NAME 'MyModel' is not a registered model; choose one of EgoExoSlowFast,",
        ),
        (
            ["TRAIN.DATASET", "my_kitchen"],
            "TRAIN.DATASET 'my_kitchen' is not a registered data set; choose one of ",
        ),
        (
            ["TEST.TASK", "retrieval"],
            "TEST.TASK retrieval needs the projections of a dual model, but MODEL.MODEL_NAME is"
            " MultiTaskSlowFast; set it to one of EgoExoSlowFast",
        ),
        (
            [*SUML, "TEST.TASK", "zero_shot", "TEST.DATASET", "lemma"],
            "TEST.DATASET is lemma, but TEST.TASK zero_shot is about ego segments",
        ),
        (
            ["TEST.TASK", "features", "TEST.DATASET", "lemma"],
            "TEST.DATASET lemma holds exo clips, but MODEL.MODEL_NAME MultiTaskSlowFast is tested"
            f" on ego clips; set TEST.DATASET to one of {EGO_SETS}",
        ),
        (
            [*SUML, "TEST.ZERO_SHOT.VERB_PROMPTS", "['something']"],
            "TEST.ZERO_SHOT.VERB_PROMPTS is ['something']; give sentences with {}",
        ),
        (
            [*EXO, "TEST.DATASET", "lemma", "TRAIN.BEST_METRIC", "verb_top1"],
            "TRAIN.BEST_METRIC verb_top1 is not a validation metric of this model; choose one of"
            " mAP, verb_mAP, noun_mAP",
        ),
    ],
)
def test_run_that_does_not_fit_loads_but_may_not_start(
    empty: Path, overrides: list[Any], part: str
) -> None:
    cfg = load_config(empty, overrides)
    with pytest.raises(UserError) as caught:
        validate_run(cfg)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        SUML,
        [*EXO, "TEST.DATASET", "lemma"],
        [*EXO, "TEST.DATASET", "lemma", "TEST.TASK", "features"],
        [*SUML, "TEST.DATASET", "ego_exo", "TEST.TASK", "features"],
        [*SUML, "TEST.TASK", "cross_view"],
        # What is off is not judged.
        [*SUML, "TRAIN.DATASET", "epickitchen", "TRAIN.ENABLE", "False"],
        [*EXO, "TEST.ENABLE", "False"],
        [*EXO, "TEST.ENABLE", "False", "TRAIN.BEST_METRIC", "noun_mAP"],
        [*SUML, "TRAIN.BEST_METRIC", "noun_top5"],
        # The exo clip plays no part without an exo half.
        ["EXO.NUM_FRAMES", "33"],
    ],
)
def test_run_that_fits(empty: Path, overrides: list[Any]) -> None:
    validate_run(load_config(empty, overrides))


@pytest.mark.parametrize("tested_as", ["", "MultiTaskSlowFst", "ExoSlowFast", "EgoExoSlowFast"])
def test_a_dual_model_names_the_model_that_is_tested(
    empty: Path, monkeypatch: pytest.MonkeyPatch, tested_as: str
) -> None:
    entries = {name: MODEL_REGISTRY.get(name) for name in MODEL_REGISTRY}
    wrong = replace(entries["EgoExoSlowFast"], tested_as=tested_as)
    monkeypatch.setattr(MODEL_REGISTRY, "_entries", {**entries, "EgoExoSlowFast": wrong})
    with pytest.raises(UserError, match=rf"tested_as '{tested_as}'.*one of .*MultiTaskSlowFast"):
        validate_run(load_config(empty, SUML))
