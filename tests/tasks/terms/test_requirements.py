"""A term whose input is missing is refused before the first step, in one line with a fix."""

import pytest

from slowfast.models.ego_exo import EgoExoModel
from slowfast.models.parts import Part
from slowfast.tasks.build import build_training
from slowfast.tasks.terms.base import Input, Term, TermOutput
from slowfast.tasks.terms.registry import TERM_REGISTRY, register_term
from slowfast.utils.errors import UserError
from tests.tasks.test_ego_exo_alignment import paired_batch, tiny_cfg

FACTORISED = {"ALIGN__KIND": "factorised", "PAIRS__MINING": "factors"}
BY_LABEL = {"NEGATIVES": "drop_same_label"}


def refused(cfg) -> str:
    with pytest.raises(UserError) as error:
        build_training(cfg)
    message = str(error.value)
    assert "\n" not in message
    return message


def unlabelled_exo(**suml):
    cfg = tiny_cfg(**suml)
    cfg.EXO.HEAD_NAMES, cfg.EXO.NUM_CLASSES_LIST = [], []
    return cfg


@pytest.mark.parametrize(
    ("part", "suml", "key"),
    [
        (Part.EGO_PROJECTION, {}, "EGO_TEXT is 0.1"),
        (Part.EGO_PROJECTION, {"WEIGHTS__EGO_TEXT": 0.0}, "ALIGN is 0.02"),
        (Part.EXO_PROJECTION, {}, "EXO_TEXT is 0.1"),
        (Part.FACTOR_PROJECTIONS, FACTORISED, "ALIGN is 0.02"),
    ],
)
def test_a_part_that_the_model_lacks(monkeypatch, part, suml, key):
    monkeypatch.setattr(EgoExoModel, "parts", property(lambda model: frozenset(Part) - {part}))
    assert refused(tiny_cfg(**suml)) == (
        f"SUML.WEIGHTS.{key}, which needs {part.value}, but MODEL.MODEL_NAME EgoExoSlowFast has"
        f" none; set another MODEL.MODEL_NAME, or set SUML.WEIGHTS.{key.split()[0]} 0"
    )


def test_no_exo_heads():
    message = refused(unlabelled_exo())
    assert message.startswith("SUML.WEIGHTS.EXO_CLS is 0.1, which needs exo heads, but EXO.NUM_")
    assert message.endswith("or set SUML.WEIGHTS.EXO_CLS 0")
    build_training(unlabelled_exo(WEIGHTS__EXO_CLS=0.0))


def test_no_exo_labels_to_compare():
    """For the text term, and for independent exo clips in the alignment."""
    no_cls = {"WEIGHTS__EXO_CLS": 0.0}
    message = refused(unlabelled_exo(**no_cls, **BY_LABEL))
    assert "SUML.WEIGHTS.EXO_TEXT is 0.1, which needs labels of exo clips" in message
    assert "set SUML.NEGATIVES (now drop_same_label) to all or drop_same_text" in message
    no_text = {**no_cls, "WEIGHTS__EXO_TEXT": 0.0}
    build_training(unlabelled_exo(**no_text, **BY_LABEL))
    assert "SUML.WEIGHTS.ALIGN is 0.02" in refused(
        unlabelled_exo(**no_text, **BY_LABEL, EXO_STREAM=True)
    )
    for negatives in ("all", "drop_same_text"):
        build_training(unlabelled_exo(**no_cls, NEGATIVES=negatives, EXO_STREAM=True))


def test_no_partners():
    message = refused(tiny_cfg(PAIRS__FILE=""))
    assert "SUML.WEIGHTS.ALIGN is 0.02, which needs an exo partner of each ego clip" in message
    assert "SUML.PAIRS.FILE is empty; set it to the table that tools/mine_pairs.py" in message
    build_training(tiny_cfg(PAIRS__FILE="", ALIGN__KIND="none"))


def test_no_partners_by_verb_and_by_noun():
    cfg = tiny_cfg(**FACTORISED)
    cfg.MODEL.HEAD_NAMES, cfg.MODEL.NUM_CLASSES_LIST = ["action"], [9]
    message = refused(cfg)
    assert "needs exo partners by verb and by noun, but MODEL.HEAD_NAMES is ['action']" in message
    cfg.SUML.ALIGN.KIND = "dcl"
    build_training(cfg)


def test_no_narrations():
    message = refused(tiny_cfg(ENCODER=""))
    assert "SUML.WEIGHTS.EGO_TEXT is 0.1, which needs embeddings of narrations" in message
    assert "SUML.ENCODER is empty; set it to a sentence encoder" in message


@pytest.mark.parametrize("needs", [{Input.EXO_CLIP}, {Part.EXO_PROJECTION}], ids=str)
def test_no_exo_clips_for_a_key_that_begins_with_ego(monkeypatch, needs):
    entries = {key: TERM_REGISTRY.get(key) for key in TERM_REGISTRY}
    monkeypatch.setattr(TERM_REGISTRY, "_entries", entries)

    class Mine(Term):
        def __call__(self, output, batch, step):
            return TermOutput({"mine": output.ego_logits[0].sum()})

    Mine.needs = frozenset(needs)
    register_term("EGO_MINE")(lambda cfg: Mine())
    cfg = tiny_cfg(ALIGN__KIND="none", WEIGHTS__EXO_CLS=0.0, WEIGHTS__EXO_TEXT=0.0)
    cfg.SUML.WEIGHTS.EGO_MINE = 0.1
    message = refused(cfg)
    assert "SUML.WEIGHTS.EGO_MINE is 0.1, which needs exo clips" in message
    assert "rename its key, or set SUML.WEIGHTS.EGO_MINE 0" in message
    # Another term has their frames decoded.
    cfg.SUML.WEIGHTS.EXO_CLS = 0.1
    model, task = build_training(cfg)
    assert "mine" in task.step(model.train(), paired_batch(0), 0, 0).losses


def test_a_part_that_a_term_forgets_to_name(monkeypatch):
    entries = {key: TERM_REGISTRY.get(key) for key in TERM_REGISTRY}
    monkeypatch.setattr(TERM_REGISTRY, "_entries", entries)

    class Mine(Term):
        def __call__(self, output, batch, step):
            assert output.z_ego is not None
            return TermOutput({"mine": output.z_ego.sum()})

    register_term("EGO_MINE")(lambda cfg: Mine())
    cfg = tiny_cfg(ALIGN__KIND="none", WEIGHTS__EXO_TEXT=0.0, WEIGHTS__EGO_TEXT=0.0)
    cfg.SUML.WEIGHTS.EGO_MINE = 0.1
    model, task = build_training(cfg)
    with pytest.raises(TypeError, match=r"Mine fails .* Part\.EGO_PROJECTION, .* to its `needs`"):
        task.step(model.train(), paired_batch(0), 0, 0)
